"""Which configurations can run: fields, types, ranges, and what must fit together."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from varmixup_jax import checks
from varmixup_jax.config import base_config, selected_methods
from varmixup_jax.methods import METHODS, build
from varmixup_jax.models import CLASSIFIERS, build_classifier
from varmixup_jax.models.build import DOWNSAMPLES
from varmixup_jax.training.optim import OPTIMIZERS, SCHEDULES, make_schedule
from varmixup_jax.training.parallel import VIAS
from varmixup_jax.vicinal.objective import ATTACK_BN

CHECKPOINT_RULES = ("last", "best")
DTYPES = ("float32", "bfloat16")
MOST_EPOCHS = 1e6
MOST_BINS = 1000


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
    if not config.seeds or min(config.seeds) < 0:
        raise ValueError(f"config.seeds = {config.seeds}: must be whole numbers >= 0, at least one")
    if len(set(config.seeds)) != len(config.seeds):
        raise ValueError(f"config.seeds = {config.seeds}: must be distinct")

    _check(checks.positive, config, "epochs", "optim.learning_rate", "optim.decay")
    _check(checks.positive, config, "eval.every_epochs", "vae.learning_rate")
    _check(
        checks.non_negative,
        config,
        "optim.weight_decay",
        "optim.clip_norm",
        "vae.epochs",
        "attack_epochs",
    )
    _check(checks.non_negative, config, "vae.gamma", "vae.weight_decay", "vae.bandwidth")
    for field in ("batch_size", "eval.batch_size", "eval.bins", "checkpoints.keep"):
        _check(checks.whole, config, field, bound=(1,))
    for field in ("epochs", "attack_epochs", "vae.epochs"):
        _check(checks.in_range, config, field, bound=(0.0, MOST_EPOCHS))
    _check(checks.in_range, config, "eval.bins", bound=(1, MOST_BINS))
    for field in ("vae.batch_size", "vae.latent_size", "vae.width"):
        _check(checks.whole, config, field, bound=(1,))
    whole_or_default = (
        *("data.pad", "data.limit", "data.resize", "data.split_seed", "model.width"),
        *("vae.blocks", "vae.seed", "parallel.steps_per_call", "parallel.devices"),
    )
    for field in whole_or_default:
        _check(checks.whole, config, field, bound=(0,))
    unit = ("ema_decay", "optim.momentum", "optim.warmup", "data.val_fraction", "vae.ema_decay")
    for field in unit:
        _check(checks.in_range, config, field, bound=(0.0, 0.999999))
    for field, allowed in (
        ("model.name", CLASSIFIERS),
        ("model.dtype", DTYPES),
        ("vae.dtype", DTYPES),
        ("attack_bn", ATTACK_BN),
        ("optim.name", OPTIMIZERS),
        ("optim.schedule", SCHEDULES),
        ("parallel.via", VIAS),
        ("eval.checkpoint", CHECKPOINT_RULES),
        ("vae.latent", ("spatial", "vector")),
        ("vae.downsample", (0, *DOWNSAMPLES)),
        ("vae.kernel", ("rbf", "zhao", "imq")),
        ("vae.estimator", ("unbiased", "biased")),
        ("vae.adversary.objective", ("recon", "latent")),
    ):
        _check(checks.one_of, config, field, bound=(allowed,))
    _validate_optimizer(config)
    _validate_evaluation(config)
    for name in methods:
        _validate_method(config, name)
    for field in ("batch_size", "vae.batch_size"):
        if field == "vae.batch_size" and not any(METHODS[m].vae != "none" for m in methods):
            continue
        size = _value(config, field)
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
    _check(checks.whole, config, "eval.examples", bound=(0,))
    checks.one_of([*METHODS, ""], **{"config.eval.baseline": config.eval.baseline})
    where = config.eval.corruptions
    if where not in ("none", "computed") and (not where or not os.path.exists(where)):
        text = "must be none, computed, or a directory (or archive) of corrupted images"
        raise ValueError(f"config.eval.corruptions = {checks.shown(where)}: {text}")
    _check(checks.whole, config, "eval.attack_examples", bound=(0,))
    _check(checks.whole, config, "eval.linearity_examples", bound=(0,))
    _check(checks.whole, config, "eval.apgd_steps", bound=(0,))
    if config.eval.attack_examples:
        _check(checks.positive, config, "eval.attack_eps", "eval.attack_step_size")
        for field in ("eval.attack_steps", "eval.attack_restarts"):
            _check(checks.whole, config, field, bound=(1,))
    if config.eval.linearity_examples:
        for field in ("eval.linearity_steps", "eval.linearity_restarts"):
            _check(checks.whole, config, field, bound=(1,))
        _check(checks.positive, config, "eval.linearity_relative_step")
        for eps in config.eval.linearity_eps:
            checks.positive(**{"config.eval.linearity_eps": eps})


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
        _check(checks.positive, config, "vae.adversary.eps", "vae.adversary.step_size")
        _check(checks.whole, config, "vae.adversary.steps", bound=(1,))


def _value(config: ConfigDict, field: str) -> Any:
    for part in field.split("."):
        config = config[part]
    return config


def _check(rule: Any, config: ConfigDict, *fields: str, bound: tuple = ()) -> None:
    rule(*bound, **{f"config.{field}": _value(config, field) for field in fields})
