"""Optimisers and learning-rate schedules, all from optax."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import optax

from varmixup_jax import checks
from varmixup_jax.types import Array

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "onecycle", "piecewise")


def make_schedule(
    name: str,
    *,
    learning_rate: float,
    total_steps: int,
    warmup: float = 0.0,
    boundaries: tuple[float, ...] = (0.5, 0.75),
    decay: float = 0.1,
) -> Callable[[Array], Array]:
    """A learning-rate schedule over a whole run.

    `constant`: the peak. `cosine`: to 0 along a half cosine. `onecycle`: linear to the peak over the
    warm-up, then linear to 0. `piecewise`: times `decay` at each boundary. All but `onecycle`
    start with a linear warm-up from 0 over the given fraction of the run.

    Args:
      name: one of `SCHEDULES`.
      learning_rate: the peak, > 0.
      total_steps: length of the run in steps, >= 1.
      warmup: fraction of the run spent warming up, in [0, 1).
      boundaries: of `piecewise`, fractions of the run in (0, 1), increasing.
      decay: of `piecewise`, the factor at each boundary, > 0.

    Returns:
      `step -> learning rate`.

    Raises:
      ValueError: a value out of its range.

    >>> schedule = make_schedule("cosine", learning_rate=0.1, total_steps=100)
    >>> round(float(schedule(50)), 3)
    0.05
    """
    checks.one_of(SCHEDULES, schedule=name)
    checks.positive(learning_rate=learning_rate, decay=decay)
    checks.whole(1, total_steps=total_steps)
    checks.in_range(0.0, 1.0, warmup=warmup)
    if warmup >= 1:
        raise ValueError(f"warmup = {warmup!r}: must be < 1, a fraction of the run")
    checks.increasing_fractions(boundaries=boundaries)
    rise = min(round(warmup * total_steps), total_steps - 1)
    rest = total_steps - rise
    if name == "constant":
        main = optax.constant_schedule(learning_rate)
    elif name == "cosine":
        main = optax.cosine_decay_schedule(learning_rate, rest)
    elif name == "onecycle":
        main = optax.linear_schedule(learning_rate, 0.0, rest)
    else:
        cuts = {max(round(b * total_steps) - rise, 1): decay for b in boundaries}
        main = optax.piecewise_constant_schedule(learning_rate, cuts)
    if rise == 0:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, learning_rate, rise), main], [rise])


def make_optimizer(
    name: str,
    schedule: Callable[[Array], Array],
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
) -> optax.GradientTransformation:
    """An optimiser with the semantics of the PyTorch recipes common in the field.

    Weight decay of `sgd` and `adam` is coupled (added to the gradient) and, as in PyTorch, applies to
    every parameter, BatchNorm's and biases included; that of `adamw` is decoupled.

    Args:
      name: one of `OPTIMIZERS`.
      schedule: `step -> learning rate`.
      momentum: of `sgd`, in [0, 1).
      nesterov: of `sgd`.
      weight_decay: >= 0.
      clip_norm: global gradient-norm clipping, applied first; None or 0 does not clip.

    Raises:
      ValueError: a value out of its range.
    """
    checks.one_of(OPTIMIZERS, optimizer=name)
    checks.in_range(0.0, 1.0, momentum=momentum)
    checks.non_negative(weight_decay=weight_decay, clip_norm=clip_norm or 0.0)
    parts = []
    if clip_norm:
        parts.append(optax.clip_by_global_norm(clip_norm))
    if weight_decay > 0 and name != "adamw":
        parts.append(optax.add_decayed_weights(weight_decay))
    if name == "sgd":
        parts.append(optax.sgd(schedule, momentum=momentum or None, nesterov=nesterov))
    elif name == "adam":
        parts.append(optax.adam(schedule))
    else:
        parts.append(optax.adamw(schedule, weight_decay=weight_decay))
    return optax.chain(*parts)


def ema_decay_at(decay: float, step: Array) -> Array:
    """EMA decay with a warm-up, min(decay, (1 + t) / (10 + t)): short runs forget their start."""
    t = jnp.asarray(step, jnp.float32)
    return jnp.minimum(jnp.asarray(decay, jnp.float32), (1.0 + t) / (10.0 + t))
