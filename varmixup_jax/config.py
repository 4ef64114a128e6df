"""The configuration of a run, as recipes and the command line change it.

A recipe under `configs/` is a function `get_config(argument)` that changes a few of these. The
command line changes any of them (`--config.optim.learning_rate=0.05`); a field that is not listed
in `varmixup_jax/fields.py`, or a value of another type, is refused.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from varmixup_jax import checks
from varmixup_jax.fields import FIELDS
from varmixup_jax.methods import METHODS, paper_methods

ALL = "all"
SHARED_BY_VAES = ("store", "others", "drawn", "adversary")


def base_config() -> ConfigDict:
    """All fields with their defaults (`fields.FIELDS`); locked: a misspelt field is an error."""
    nested: dict[str, Any] = {}
    for name, field in FIELDS.items():
        *sections, last = name.split(".")
        section = nested
        for part in sections:
            section = section.setdefault(part, {})
        section[last] = field.default
    c = ConfigDict(nested)
    # A method registered elsewhere has its section here too.
    c.methods = ConfigDict({name: dict(method.settings) for name, method in METHODS.items()})
    return c.lock()


def with_others(config: ConfigDict) -> list[ConfigDict]:
    """The configuration of each VAE of a run: its own, then those of `vae.others`.

    Raises:
      ValueError: words that are no `field=value` of the section, or a field that VAEs of a run share.
    """
    found = [config]
    allowed = [field for field in config.vae if field not in SHARED_BY_VAES]
    for changes in config.vae.others:
        other = ConfigDict(config.to_dict())
        other.vae.others = ()
        for change in changes.split():
            name, _, value = change.partition("=")
            where = f"config.vae.others: {change}"
            if name not in allowed:
                raise ValueError(f"{where}: must be field=value, of {', '.join(allowed)}")
            try:
                other.vae[name] = type(other.vae[name])(value)
            except ValueError:
                text = f"must be of type {type(other.vae[name]).__name__}"
                raise ValueError(f"{where}: {text}") from None
        found.append(other)
    return found


def selected_methods(config: ConfigDict) -> tuple[str, ...]:
    """The methods `config.method` names, in order, each once."""
    names = [word.strip() for word in config.method.split(",")]
    if names == [ALL]:
        return paper_methods()
    allowed = [*METHODS, ALL] if len(names) == 1 else METHODS
    for name in names:
        checks.one_of(allowed, **{"config.method": name})
    return tuple(dict.fromkeys(names))


def method_argument(argument: str | None, default: str, *presets: str) -> tuple[str, str]:
    """Splits the word after the colon, `configs/x.py:words`, into methods and one preset.

    >>> method_argument("erm,mixup,modern", "varmixup", "modern", "poster_guess")
    ('erm,mixup', 'modern')
    >>> method_argument(None, "varmixup", "modern", "poster_guess")
    ('varmixup', 'modern')
    """
    words = [word.strip() for word in (argument or "").split(",") if word.strip()]
    chosen = [word for word in words if word in presets]
    if len(chosen) > 1:
        raise ValueError(f"config argument = {argument!r}: has more than one preset")
    for word in words:
        checks.one_of([*METHODS, ALL, *presets], **{"config argument": word})
    methods = [word for word in words if word not in presets]
    preset = chosen[0] if chosen else (presets[0] if presets else "")
    return ",".join(methods) or default, preset
