"""Settings in words that fit a chart: `clean 0.5` for `methods.varmixup.clean_weight=0.5`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _flag(words: str) -> Callable[[Any], str]:
    return lambda value: words if value is True else f"no {words}"


def _counted(noun: str) -> Callable[[Any], str]:
    return lambda value: f"{number(value)} {noun}{'' if value == 1 else 's'}"


def _after(words: str) -> Callable[[Any], str]:
    return lambda value: f"{words} {number(value)}"


def _radius(words: str) -> Callable[[Any], str]:
    return lambda value: f"{words} {number(value, parts=255)}"


def _alone(value: Any) -> str:
    return number(value).replace("_", " ")


def _fields(words: str) -> str:
    """Fields and values as they are given, `width=32 latent_size=4`."""
    return ", ".join(word.replace("_", " ").replace("=", " ") for word in words.split())


# By the last part of a field's name.
_METHOD: Mapping[str, Callable[[Any], str]] = {
    "alpha": _after("α"),
    "lam": _after("λ per"),
    "clean_weight": _after("clean"),
    "order": _alone,
    "stages": _after("stages"),
    "loss": _alone,
    "eps": _radius("ε"),
    "step_size": _radius("step size"),
    "steps": _counted("step"),
    "beta": _after("β"),
    "start_sigma": _after("start noise"),
    "partners": _counted("partner"),
    "then_mixup": _flag("then Mixup"),
    "strength": _after("strength"),
    "amount": _alone,
    "groups": _counted("channel group"),
    "styles": _counted("style"),
    "consistency": _after("consistency"),
    "views": _counted("view"),
    "severity": _after("severity"),
    "joint": lambda value: "views with the clean batch" if value is True else "views apart",
    "sigma_add": _after("additive noise"),
    "sigma_mult": _after("multiplicative noise"),
    "input_noise": _flag("input noise"),
}
# By the whole name, in the order in which a row names them.
SHARED: Mapping[str, Callable[[Any], str]] = {
    "model.name": _alone,
    "model.width": _after("width"),
    "model.dtype": _alone,
    "epochs": _counted("epoch"),
    "batch_size": _after("batch"),
    "data.limit": _after("training images"),
    "optim.name": _alone,
    "optim.schedule": _alone,
    "optim.learning_rate": _after("learning rate"),
    "optim.weight_decay": _after("weight decay"),
    "ema_decay": _after("EMA"),
    "attack_bn": _after("attack BatchNorm"),
}
VAE: Mapping[str, Callable[[Any], str]] = {
    "vae.width": lambda value: f"{number(value)} wide",
    "vae.blocks": _counted("block"),
    "vae.gamma": _after("γ"),
    "vae.kernel": _alone,
    "vae.epochs": _counted("epoch"),
    "vae.others": lambda value: "and " + " and ".join(map(_fields, value)) if value else "alone",
    "vae.drawn": _after("per"),
}


def number(value: Any, parts: int = 1) -> str:
    """A value for print: numbers short, lists with commas, strings as they are.

    Args:
      value: of a configuration's field.
      parts: a number that is a whole multiple of 1/parts is printed as such.

    >>> number(0.5), number([0, 1, 2]), number(8 / 255, parts=255)
    ('0.5', '0, 1, 2', '8/255')
    """
    if isinstance(value, (list, tuple)):
        return ", ".join(number(part) for part in value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return str(value)
    if parts > 1 and value and abs(value * parts - round(value * parts)) < 1e-6:
        return f"{round(value * parts)}/{parts}"
    return f"{value:.6g}"


def method_words(setting: str, value: Any) -> str:
    """A method's own setting.

    >>> method_words("views", 1), method_words("my_strength", 2.0)
    ('1 view', 'my strength 2')
    """
    return _METHOD.get(setting, _after(setting.replace("_", " ")))(value)


def field_words(name: str, value: Any) -> str:
    """A field of the configuration by its whole name.

    >>> field_words("batch_size", 512), field_words("vae.width", 32)
    ('batch 512', 'VAE 32 wide')
    """
    if name in SHARED:
        return SHARED[name](value)
    if name in VAE:
        return f"VAE {VAE[name](value)}"
    return _after(name.replace("_", " ").replace(".", " "))(value)
