"""Which configurations can run: fields, types, ranges, and what must fit together."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from varmixup_jax import checks, fields
from varmixup_jax.config import base_config, selected_methods, with_others
from varmixup_jax.methods import METHODS, build
from varmixup_jax.models import build_classifier
from varmixup_jax.training.optim import make_schedule


def validate(config: ConfigDict, devices: int) -> None:
    """Refuses what cannot run, before anything is written or loaded.

    Args:
      config: a (changed) `base_config()`.
      devices: how many devices the batch would be spread over.

    Raises:
      ValueError: one line that names the field, its value and what is allowed.
    """
    check_fields(config)
    methods = selected_methods(config)
    fields.check(config.to_dict())
    _validate_optimizer(config)
    _validate_evaluation(config)
    for other in with_others(config)[1:]:
        try:
            check_fields(other)
            fields.check(other.to_dict())
        except ValueError as error:
            raise ValueError(f"config.vae.others: {error}") from None
    for name in methods:
        _validate_method(config, name)
    for field in ("batch_size", "vae.batch_size"):
        if field == "vae.batch_size" and not any(METHODS[m].vae != "none" for m in methods):
            continue
        size = fields.value_of(config, field)
        if size % devices:
            text = f"must be divisible by the {devices} devices"
            raise ValueError(f"config.{field} = {size}: {text}")
    if config.eval.checkpoint == "best" and config.data.val_fraction == 0:
        text = "must be > 0 to select the best checkpoint (config.eval.checkpoint)"
        raise ValueError(f"config.data.val_fraction = {config.data.val_fraction}: {text}")


def check_fields(config: Any) -> None:
    """Refuses what does not have the fields of `base_config()` with their types.

    Raises:
      ValueError: one line that names the field, its value and what is allowed.
    """
    if not isinstance(config, ConfigDict):
        text = "must be a changed base_config(), as get_config of the recipe returns"
        raise ValueError(f"config = {checks.shown(config)}: {text}")
    checks.like(base_config().to_dict(), "config", config.to_dict())


def unknown_field(arguments: Sequence[str]) -> ValueError | None:
    """The refusal of the first `--config.a.b=value` whose field does not exist, or None."""
    for argument in arguments:
        name = argument.lstrip("-").split("=")[0]
        if not name.startswith("config."):
            continue
        section: Any = base_config()
        for part in name.split(".")[1:]:
            if not isinstance(section, ConfigDict) or part not in section:
                known = list(section) if isinstance(section, ConfigDict) else []
                near = difflib.get_close_matches(part, known, n=2, cutoff=0.5)
                hint = f"did you mean {' or '.join(near)}?" if near else f"has {', '.join(known)}"
                return ValueError(f"{name}: no such field ({hint})")
            section = section[part]
    return None


def _validate_optimizer(config: ConfigDict) -> None:
    c = config.optim
    try:
        make_schedule(
            c.schedule,
            learning_rate=c.learning_rate,
            total_steps=1,
            warmup=c.warmup,
            boundaries=tuple(c.boundaries),
            decay=c.decay,
        )
    except ValueError as error:
        raise ValueError(f"config.optim.{error}") from None


def _validate_evaluation(config: ConfigDict) -> None:
    where = config.eval.corruptions
    if where not in ("none", "computed") and (
        not where or not os.path.exists(os.path.expanduser(where))
    ):
        text = "must be none, computed, or a directory (or archive) of corrupted images"
        raise ValueError(f"config.eval.corruptions = {checks.shown(where)}: {text}")


def _validate_method(config: ConfigDict, name: str) -> None:
    section = f"config.methods.{name}"
    settings = config.methods[name].to_dict()
    if METHODS[name].attacks:
        for field in ("eps", "step_size"):
            if field in settings:
                checks.positive(**{f"{section}.{field}": settings[field]})
        if "steps" in settings:
            checks.whole(1, **{f"{section}.steps": settings["steps"]})
    try:
        build(name, **settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{section}.{error}") from None
    if "stages" in settings:
        last = build_classifier(config.model.name, num_classes=2, mean=[0.5], std=[0.5]).num_stages
        if max(settings["stages"]) > last:
            text = f"must be stages of {config.model.name}, 0 to {last}"
            raise ValueError(f"{section}.stages = {settings['stages']}: {text}")
    if METHODS[name].vae == "none":
        return
    if config.vae.epochs <= 0:
        text = f"method {name!r} needs a VAE, must be > 0"
        raise ValueError(f"config.vae.epochs = {config.vae.epochs}: {text}")
    if METHODS[name].vae == "adversarial":
        where, adversary = "config.vae.adversary", config.vae.adversary
        for field in ("eps", "step_size"):
            checks.positive(**{f"{where}.{field}": adversary[field]})
        checks.whole(1, **{f"{where}.steps": adversary.steps})
