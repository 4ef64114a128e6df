"""Checks whether a configuration can run: constraints between fields, beyond their own rules."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from varmixup_jax import checks
from varmixup_jax.config import base_config, freeze, selected_methods
from varmixup_jax.fields import Config
from varmixup_jax.methods import METHODS, build
from varmixup_jax.models import build_classifier
from varmixup_jax.sections import ParallelConfig


def validate(config: Any, devices: int | None = None) -> Config:
    """Checks a configuration and freezes it, before anything is written or loaded.

    Args:
      config: a (changed) `base_config()`.
      devices: how many devices the batch would be spread over; None for those it selects here.

    Raises:
      ValueError: one line that names the field, its value and what is allowed.
    """
    found = freeze(config)
    if devices is None:
        devices = len(chosen_devices(found.parallel))
    methods = selected_methods(found.method)
    for name in methods:
        _check_method(found, name)
    sizes = {"batch_size": found.batch_size}
    if any(METHODS[name].vae != "none" for name in methods):
        sizes["vae.batch_size"] = found.vae.batch_size
    for field, size in sizes.items():
        if size % devices:
            text = f"must be divisible by the {devices} devices"
            raise ValueError(f"config.{field} = {size}: {text}")
    if found.eval.checkpoint == "best" and found.data.val_fraction == 0:
        text = "must be > 0 to select the best checkpoint (config.eval.checkpoint)"
        raise ValueError(f"config.data.val_fraction = {found.data.val_fraction}: {text}")
    return found


def chosen_devices(parallel: ParallelConfig) -> list[jax.Device]:
    """The devices to use.

    Raises:
      ValueError: more are requested than there are, or JAX finds none of the requested platform.
    """
    try:
        devices, wanted = jax.devices(), parallel.devices or 0
    except (RuntimeError, AssertionError) as error:  # the latter if a platform's plugin is missing
        chosen, why = os.environ.get("JAX_PLATFORMS", ""), f" ({error})" if str(error) else ""
        text = f"names what is not there{why}, must be a platform of this machine, e.g. cpu"
        raise ValueError(f"JAX_PLATFORMS = {chosen!r}: {text}") from None
    if wanted > len(devices):
        text = f"must lie in [0, {len(devices)}], the devices there are"
        raise ValueError(f"config.parallel.devices = {wanted}: {text}")
    return devices[: wanted or len(devices)]


def unknown_field(arguments: Sequence[str]) -> ValueError | None:
    """The error for the first `--config.a.b=value` whose field does not exist, or None."""
    for argument in arguments:
        name = argument.lstrip("-").split("=")[0]
        if not name.startswith("config."):
            continue
        section: Any = base_config()
        for part in name.split(".")[1:]:
            if not isinstance(section, ConfigDict) or part not in section:
                known = list(section) if isinstance(section, ConfigDict) else []
                near = difflib.get_close_matches(part, known, n=2, cutoff=0.5)
                hint = f"has {', '.join(known)}" if known else "there are none below it"
                hint = f"did you mean {' or '.join(near)}?" if near else hint
                return ValueError(f"{name}: no such field ({hint})")
            section = section[part]
    return None


def _check_method(config: Config, name: str) -> None:
    section, settings = f"config.methods.{name}", config.methods[name]
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
        if not settings["stages"] or max(settings["stages"]) > last:
            text = f"must be stages of {config.model.name}, 0 to {last}, at least one"
            raise ValueError(f"{section}.stages = {settings['stages']}: {text}")
    if METHODS[name].vae != "none" and config.vae.epochs <= 0:
        text = f"method {name!r} needs a VAE, must be > 0"
        raise ValueError(f"config.vae.epochs = {config.vae.epochs}: {text}")
