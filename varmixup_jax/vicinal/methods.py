"""The nine methods as data: each a name and a function from settings to a tuple of `Term`s.

A tenth method is one decorated function, in this file or in anybody else's:

    @register("noisy", summary="Gaussian noise around each example")
    def noisy(*, sigma: float = 0.1) -> tuple[Term, ...]:
        return (Term(1.0, partial(add_noise, sigma=sigma), ce),)

It then has a configuration section (`config.methods.noisy.sigma`), runs through the same trainer and
is tested for the guarantees of `Vicinity` with the rest.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from varmixup_jax import checks
from varmixup_jax.losses import bce, ce, kl_to_clean
from varmixup_jax.types import Term
from varmixup_jax.vicinal.attacks import attack, gaussian_start, linf, uniform_start
from varmixup_jax.vicinal.mixing import (
    chain,
    dirac,
    latents,
    mix,
    mix_hidden,
    pixels,
    reconstructed_mix,
    reconstructions,
)

VAE_KINDS = ("none", "standard", "adversarial")


class Method(NamedTuple):
    """A way of training.

    Attributes:
      build: `(**settings) -> terms`; every setting is a keyword with a default.
      vae: which VAE its terms need: "none", "standard" or "adversarial".
      summary: one line for listings.
    """

    build: Callable[..., tuple[Term, ...]]
    vae: str
    summary: str

    @property
    def settings(self) -> dict[str, Any]:
        """Names and defaults of the settings `build` takes."""
        return {p.name: p.default for p in inspect.signature(self.build).parameters.values()}


METHODS: dict[str, Method] = {}


def register(name: str, *, summary: str, vae: str = "none") -> Callable[[Callable], Callable]:
    """Decorator that adds a function from settings to terms to `METHODS`.

    Raises:
      ValueError: the name is taken, the kind of VAE is unknown, or a setting has no default.
    """
    checks.one_of(VAE_KINDS, vae=vae)

    def add(build: Callable[..., tuple[Term, ...]]) -> Callable[..., tuple[Term, ...]]:
        if name in METHODS:
            raise ValueError(f"method = {name!r}: is registered already")
        for parameter in inspect.signature(build).parameters.values():
            if parameter.default is parameter.empty:
                raise ValueError(f"method {name!r}: setting {parameter.name!r} needs a default")
        METHODS[name] = Method(build, vae, summary)
        return build

    return add


def build(name: str, **settings: Any) -> tuple[Term, ...]:
    """The terms of a registered method.

    Args:
      name: one of `METHODS`.
      **settings: of that method; what is not given keeps its default.

    Raises:
      ValueError: unknown method or setting (with the nearest names), or a value out of range.

    >>> [term.weight for term in build("trades", beta=6.0)]
    [1.0, 6.0]
    """
    checks.one_of(METHODS, method=name)
    method = METHODS[name]
    for setting in settings:
        checks.one_of(method.settings, **{f"setting of {name}": setting})
    return method.build(**settings)


def _with_clean(vicinal: Term, clean_weight: float) -> tuple[Term, ...]:
    """(1 - w) * vicinal + w * CE on the clean batch."""
    checks.in_range(0.0, 1.0, clean_weight=clean_weight)
    if clean_weight == 0:
        return (vicinal,)
    weighted = vicinal._replace(weight=(1.0 - clean_weight) * vicinal.weight)
    return weighted, Term(clean_weight, dirac, ce)


@register("erm", summary="cross-entropy on the training images")
def erm() -> tuple[Term, ...]:
    """Empirical risk minimisation: E CE(f(x), y)."""
    return (Term(1.0, dirac, ce),)


@register("mixup", summary="interpolated pixels and labels")
def mixup(*, alpha: float = 1.0, lam: str = "batch") -> tuple[Term, ...]:
    """Mixup (Zhang et al. 2018)."""
    return (Term(1.0, mix(pixels, alpha=alpha, lam=lam), ce),)


@register("mixup_r", vae="standard", summary="interpolated VAE reconstructions")
def mixup_r(
    *,
    alpha: float = 1.0,
    lam: str = "batch",
    clean_weight: float = 0.0,
    order: str = "reconstruct_first",
) -> tuple[Term, ...]:
    """Mixup-R: Mixup of reconstructions r(x) = D(mu(x)).

    `order="mix_first"` is the other reading, r(lambda x_i + (1 - lambda) x_j).
    """
    checks.one_of(("reconstruct_first", "mix_first"), order=order)
    space = reconstructions if order == "reconstruct_first" else reconstructed_mix
    return _with_clean(Term(1.0, mix(space, alpha=alpha, lam=lam), ce), clean_weight)


@register("manifold_mixup", summary="interpolated hidden activations of a random stage")
def manifold_mixup(
    *,
    alpha: float = 2.0,
    lam: str = "batch",
    stages: tuple[int, ...] = (0, 1, 2),
    loss: str = "ce",
) -> tuple[Term, ...]:
    """Manifold Mixup (Verma et al. 2019); `loss="bce_softmax"` is what their code minimises."""
    checks.one_of(("ce", "bce_softmax"), loss=loss)
    distance = ce if loss == "ce" else bce
    return (Term(1.0, mix_hidden(stages, alpha=alpha, lam=lam), distance),)


@register("at", summary="adversarial training with PGD")
def at(*, eps: float = 8 / 255, step_size: float = 2 / 255, steps: int = 10) -> tuple[Term, ...]:
    """Adversarial training (Madry et al. 2018, eq. 2.1): CE on PGD examples only, l-infinity."""
    inner = attack(ce, ball=linf(eps), steps=steps, step_size=step_size, start=uniform_start)
    return (Term(1.0, inner, ce),)


@register("trades", summary="clean cross-entropy plus KL to the worst neighbour")
def trades(
    *,
    beta: float = 6.0,
    eps: float = 8 / 255,
    step_size: float = 0.007,
    steps: int = 10,
    start_sigma: float = 0.001,
) -> tuple[Term, ...]:
    """TRADES (Zhang et al. 2019, eq. 5): CE(f(x), y) + beta * max KL(f(x) || f(x'))."""
    checks.non_negative(beta=beta, start_sigma=start_sigma)
    start = gaussian_start(start_sigma)
    inner = attack(kl_to_clean, ball=linf(eps), steps=steps, step_size=step_size, start=start)
    return Term(1.0, dirac, ce), Term(beta, inner, kl_to_clean)


@register("iat", summary="interpolated adversarial training")
def iat(
    *,
    alpha: float = 1.0,
    lam: str = "batch",
    eps: float = 8 / 255,
    step_size: float = 2 / 255,
    steps: int = 7,
) -> tuple[Term, ...]:
    """Interpolated adversarial training (Lamb et al. 2019): Mixup of clean and of PGD examples."""
    inner = attack(ce, ball=linf(eps), steps=steps, step_size=step_size, start=uniform_start)
    mixing = mix(pixels, alpha=alpha, lam=lam)
    return Term(0.5, mixing, ce), Term(0.5, chain(inner, mixing), ce)


@register("varmixup", vae="standard", summary="decoded interpolations of VAE latent means")
def varmixup(
    *, alpha: float = 1.0, lam: str = "batch", clean_weight: float = 0.0
) -> tuple[Term, ...]:
    """VarMixup (Mangla et al. 2021): x' = D(lambda mu(x_i) + (1 - lambda) mu(x_j))."""
    return _with_clean(Term(1.0, mix(latents, alpha=alpha, lam=lam), ce), clean_weight)


@register("adv_varmixup", vae="adversarial", summary="VarMixup with an adversarially robust VAE")
def adv_varmixup(
    *, alpha: float = 1.0, lam: str = "batch", clean_weight: float = 0.0
) -> tuple[Term, ...]:
    """adv-VarMixup: the same vicinity over a VAE trained against attacks on its encoder."""
    return varmixup(alpha=alpha, lam=lam, clean_weight=clean_weight)
