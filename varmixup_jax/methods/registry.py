"""The registry of methods: each is a name and a function from settings to a tuple of `Term`s.

To add your own method, decorate a function:

    @register("noisy", summary="Gaussian noise around each example")
    def noisy(*, sigma: float = 0.1) -> tuple[Term, ...]:
        return (Term(1.0, partial(add_noise, sigma=sigma), ce),)

It then has a configuration section (`config.methods.noisy.sigma`), uses the same trainer and is
tested for the guarantees of `Vicinity` like the rest.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from varmixup_jax import checks
from varmixup_jax.types import Term

VAE_KINDS = ("none", "standard", "adversarial")
Build = TypeVar("Build", bound=Callable[..., tuple[Term, ...]])


class Method(NamedTuple):
    """A way of training.

    Attributes:
      build: `(**settings) -> terms`; every setting is a keyword with a default.
      vae: which VAE its terms need: "none", "standard" or "adversarial".
      summary: one line for listings.
      paper: whether it is one of the nine of the source paper's table.
      attacks: whether its terms attack the model they train, where a step costs several times as
        much: such methods train for `attack_epochs`.
    """

    build: Callable[..., tuple[Term, ...]]
    vae: str
    summary: str
    paper: bool = False
    attacks: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """Names and defaults of the settings `build` takes."""
        return dict(_settings(self.build))


@functools.cache
def _settings(build: Callable[..., tuple[Term, ...]]) -> dict[str, Any]:
    return {p.name: p.default for p in inspect.signature(build).parameters.values()}


METHODS: dict[str, Method] = {}


def register(
    name: str, *, summary: str, vae: str = "none", paper: bool = False, attacks: bool = False
) -> Callable[[Build], Build]:
    """Decorator that adds a function from settings to terms to `METHODS`.

    Args:
      name, summary, vae, paper, attacks: see `Method`.

    Raises:
      ValueError: the name is taken, the kind of VAE is unknown, or a setting has no default.
    """
    checks.one_of(VAE_KINDS, vae=vae)

    def add(build: Build) -> Build:
        if name in METHODS:
            raise ValueError(f"method = {name!r}: is registered already")
        for parameter in inspect.signature(build).parameters.values():
            if parameter.default is parameter.empty:
                raise ValueError(f"method {name!r}: setting {parameter.name!r} needs a default")
        METHODS[name] = Method(build, vae, summary, paper, attacks)
        return build

    return add


def build(name: str, **settings: Any) -> tuple[Term, ...]:
    """The terms of a registered method.

    Args:
      name: one of `METHODS`.
      **settings: of that method; those not given keep their defaults.

    Raises:
      ValueError: unknown method or setting (with the nearest names), or a value out of range.

    >>> from varmixup_jax import methods
    >>> [term.weight for term in methods.build("trades", beta=6.0)]
    [1.0, 6.0]
    """
    checks.one_of(METHODS, method=name)
    method = METHODS[name]
    for setting in settings:
        checks.one_of(method.settings, **{f"setting of {name}": setting})
    return method.build(**settings)


def paper_methods() -> tuple[str, ...]:
    """The names of the source paper's nine methods, in the order of its report; "all" means these."""
    return tuple(name for name, method in METHODS.items() if method.paper)
