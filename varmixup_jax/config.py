"""The configuration of a run: from the `ConfigDict` of recipes and command line to the frozen form.

A recipe under `configs/` is a function `get_config(argument)` that changes a few fields of
`base_config()`. The command line changes any (`--config.optim.learning_rate=0.05`); a field that is not
listed in `varmixup_jax/fields.py`, or a value of the wrong type, is an error.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from varmixup_jax import checks, fields
from varmixup_jax.declare import frozen, plain
from varmixup_jax.fields import ALL, Config
from varmixup_jax.methods import METHODS, paper_methods
from varmixup_jax.sections import VaeConfig

NOT_OF_ONE_VAE = ("store", "others", "drawn")  # where VAEs are kept, and how they are combined
SHARED_BY_VAES = (*NOT_OF_ONE_VAE, "adversary")


def base_config() -> ConfigDict:
    """All fields with their defaults; locked: a misspelt field is an error."""
    return ConfigDict(_defaults()).lock()


def _defaults() -> dict[str, Any]:
    # A method registered elsewhere has its section here too.
    return {**plain(Config()), "methods": {name: m.settings for name, m in METHODS.items()}}


def freeze(config: Any) -> Config:
    """The configuration, checked field by field: names, types, ranges and choices.

    Args:
      config: a changed `base_config()`; one that is frozen is returned as it is.

    Raises:
      ValueError: one line that names the field, its value and what is allowed.
    """
    if isinstance(config, Config):
        return config
    check_fields(config)
    values = config.to_dict()
    fields.check(values)
    found = frozen(Config, values)
    try:
        vaes(found.vae)
    except ValueError as error:
        raise ValueError(f"config.vae.others: {error}") from None
    return found


def check_fields(config: Any) -> None:
    """Raises unless `config` has the fields of `base_config()` with their types.

    Raises:
      ValueError: one line that names the field, its value and what is allowed.
    """
    if not isinstance(config, ConfigDict):
        text = "must be a changed base_config(), as get_config of the recipe returns"
        raise ValueError(f"config = {checks.shown(config)}: {text}")
    checks.like(_defaults(), "config", config.to_dict())


def vaes(vae: VaeConfig) -> tuple[VaeConfig, ...]:
    """The section of each VAE of a run: its own, then those of `vae.others`, with their changes.

    Raises:
      ValueError: words that are not `field=value` of the section, a field that the VAEs of a run
        share, or a value that is not allowed.
    """
    found = [vae]
    for changes in vae.others:
        own = {**plain(vae), "others": ()}
        allowed = sorted(own.keys() - SHARED_BY_VAES)
        for change in changes.split():
            name, _, value = change.partition("=")
            if name not in allowed:
                raise ValueError(f"{change}: must be field=value, of {', '.join(allowed)}")
            try:
                own[name] = type(own[name])(value)
            except ValueError:
                text = f"must be of type {type(own[name]).__name__}"
                raise ValueError(f"{change}: {text}") from None
        checks.like(plain(VaeConfig()), "config.vae", own)
        fields.check({"vae": own}, "vae.")
        found.append(frozen(VaeConfig, own))
    return tuple(found)


def selected_methods(words: str) -> tuple[str, ...]:
    """The methods that `config.method` names, in order, each once."""
    names = [word.strip() for word in words.split(",")]
    return paper_methods() if names == [ALL] else tuple(dict.fromkeys(names))


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
