"""Common parts of gradient attacks: a frozen loss, projection, keeping the better point."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from varmixup_jax import checks
from varmixup_jax.attacks.balls import Ball, Linf
from varmixup_jax.types import Array, Key

Loss = Callable[[Array], Array]
"""`image [B, H, W, C] float32 -> [B]`: example i of the result depends on image i alone."""

Bounds = tuple[float, float] | None

PIXELS = (0.0, 1.0)


class Attacked(NamedTuple):
    """The result of an attack.

    Attributes:
      image: `[B, H, W, C]` in the dtype of the input image.
      loss: float32 `[B]`, the attacked loss there; -inf where no finite loss was met.
    """

    image: Array
    loss: Array


def frozen(loss: Loss, example: Array) -> Loss:
    """`loss` with its value in float32, and with everything it closes over held constant.

    Inside `jax.grad` of a training loss, the parameters that `loss` closes over are being
    differentiated; without this every step of the attack would be differentiated too, for nothing.
    """
    pure, closed_over = jax.closure_convert(loss, example)
    closed_over = lax.stop_gradient(closed_over)

    def constant(image: Array) -> Array:
        value = pure(image, *closed_over)
        if value.shape != image.shape[:1]:
            raise ValueError(
                f"loss: has shape {value.shape}, must be per example, {image.shape[:1]}"
            )
        return value.astype(jnp.float32)

    return constant


def value_and_slope(loss: Loss, point: Array) -> tuple[Array, Array]:
    """The loss per example `[B]` and its gradient with respect to each example's image."""
    value, pull = jax.vjp(loss, point)
    (grad,) = pull(jnp.ones_like(value))
    return value, grad


def within(origin: Array, delta: Array, ball: Ball, bounds: Bounds) -> Array:
    """The image `origin + delta`, brought back into the ball, then into `bounds`.

    With `origin` inside `bounds` the second projection does not leave either ball, since it moves
    every pixel towards `origin`.
    """
    moved = origin + ball.project(delta)
    return moved if bounds is None else jnp.clip(moved, *bounds)


def per_example(flag: Array, like: Array) -> Array:
    """`flag [B]` as `[B, 1, ..., 1]`, to select among arrays of the rank of `like`."""
    return flag.reshape(flag.shape + (1,) * (like.ndim - 1))


def better(old: Attacked, new: Attacked) -> Attacked:
    """Per example the one with the larger loss; `old` on ties and where the new loss is NaN."""
    wins = new.loss > old.loss
    image = jnp.where(per_example(wins, new.image), new.image, old.image)
    return Attacked(image, jnp.where(wins, new.loss, old.loss))


def nothing_yet(origin: Array) -> Attacked:
    """The initial value for `better`: any point with a loss above -inf is better."""
    return Attacked(origin, jnp.full(origin.shape[:1], -jnp.inf, jnp.float32))


def best_of(
    key: Key, one_start: Callable[[Key], Attacked], restarts: int, origin: Array
) -> Attacked:
    """The best of several independent starts per example, one compiled body for all of them."""
    if restarts == 1:
        return one_start(key)

    def again(best: Attacked, key: Key) -> tuple[Attacked, None]:
        return better(best, one_start(key)), None

    return lax.scan(again, nothing_yet(origin), jax.random.split(key, restarts))[0]


def finished(found: Attacked, dtype: jnp.dtype) -> Attacked:
    """The result as a constant, its image in the caller's dtype."""
    return lax.stop_gradient(Attacked(found.image.astype(dtype), found.loss))


def check_step(step_size: float | Array) -> None:
    """Raises ValueError for a negative step (where its value is known)."""
    if not isinstance(step_size, jax.core.Tracer):
        checks.non_negative(step_size=step_size)


def check_ball(ball: Ball) -> None:
    """Raises ValueError unless `ball` is one."""
    if not all(hasattr(ball, name) for name in ("radius", "project", "sample", "ascent")):
        raise ValueError(f"ball = {checks.shown(ball)}: must be a Ball, such as linf(8 / 255)")


def check_bounds(bounds: Bounds, ball: Ball) -> None:
    """Raises ValueError unless `bounds` is None or (low, high) with low < high, or if the radius
    of an l-infinity ball exceeds high - low: 8 is not 8 / 255."""
    if bounds is None:
        return
    if not (len(bounds) == 2 and bounds[0] < bounds[1]):
        raise ValueError(f"bounds = {bounds!r}: must be None or (low, high) with low < high")
    radius, width = ball.radius, bounds[1] - bounds[0]
    known = isinstance(ball, Linf) and not isinstance(radius, jax.core.Tracer)
    if known and np.max(radius) > width:
        text = f"must be <= {width:g}, pixels are in [{bounds[0]:g}, {bounds[1]:g}]"
        raise ValueError(f"ball: radius = {np.max(radius):g}: {text}")
