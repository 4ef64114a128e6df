"""Auto-PGD: projected gradient ascent with momentum whose step size needs no tuning.

For evaluation: the only free choices are the budget and the loss, so a weak attack cannot be the
reason for a high robust accuracy.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from varmixup_jax import checks
from varmixup_jax.attacks.balls import Ball, Start, uniform_start
from varmixup_jax.attacks.search import (
    PIXELS,
    Attacked,
    Bounds,
    Loss,
    best_of,
    better,
    check_ball,
    check_bounds,
    finished,
    frozen,
    nothing_yet,
    per_example,
    value_and_slope,
    within,
)
from varmixup_jax.types import Array, Key


class _Progress(NamedTuple):
    """The loop's state. Images are `[B, H, W, C]`, the rest `[B]`.

    Attributes:
      point, previous: x_k and x_{k-1}.
      loss: f(x_k), and grad its gradient.
      best, best_grad: the point of largest loss so far, and the gradient there.
      step_size: eta, halved at checkpoints.
      rises: how often the loss rose since the last checkpoint.
      checked_loss: the largest loss at the last checkpoint.
      halved: whether eta was halved at the last checkpoint.
    """

    point: Array
    previous: Array
    loss: Array
    grad: Array
    best: Attacked
    best_grad: Array
    step_size: Array
    rises: Array
    checked_loss: Array
    halved: Array


def checkpoints(
    steps: int, first: float = 0.22, shrink: float = 0.03, shortest: float = 0.06
) -> tuple[int, ...]:
    """The iterations at which APGD reconsiders its step size.

    w_j = ceil(p_j * steps) with p_0 = 0, p_1 = first and
    p_{j+1} = p_j + max(p_j - p_{j-1} - shrink, shortest), as long as p_j <= 1.

    Args:
      steps: the budget, >= 1.
      first, shrink, shortest: as fractions of the budget; the defaults are the paper's.

    Returns:
      w_0 = 0, w_1, w_2, ..., increasing.

    References:
      Croce and Hein 2020, section 3.1.

    >>> checkpoints(100)
    (0, 22, 41, 57, 70, 80, 87, 93, 99)
    """
    fractions = [0.0, first]
    while fractions[-1] <= 1.0:
        gap = fractions[-1] - fractions[-2]
        fractions.append(fractions[-1] + max(gap - shrink, shortest))
    # The rounding keeps ceil from lifting 0.57 * 100 = 57.00000000000001 to 58.
    return tuple(sorted({math.ceil(round(p * steps, 9)) for p in fractions if p <= 1.0}))


def apgd(
    key: Key,
    image: Array,
    loss: Loss,
    *,
    ball: Ball,
    steps: int,
    start: Start = uniform_start,
    restarts: int = 1,
    momentum: float = 0.75,
    rho: float = 0.75,
    bounds: Bounds = PIXELS,
) -> Attacked:
    """Auto-PGD on a per-example loss inside a ball around each image.

    z = P(x_k + eta * ascent(grad f(x_k))),
    x_{k+1} = P(x_k + momentum * (z - x_k) + (1 - momentum) * (x_k - x_{k-1})).

    eta starts at twice the radius. At each of `checkpoints(steps)` it is halved, and the search
    restarts from the best point, for every example whose loss rose in fewer than `rho` of the steps
    since the last checkpoint, or whose best loss did not improve since a checkpoint that left eta
    unchanged. All of it is per example and in one `fori_loop`, so it can be jitted and its memory
    does not grow with `steps`.

    Args:
      key: for the starting points.
      image: floating `[B, H, W, C]`, within `bounds`.
      loss: `image -> [B]`, maximised, e.g. cross-entropy or `losses.dlr`.
      ball: `linf(eps)` or `l2(eps)`.
      steps: gradient steps, >= 1.
      start: draws the starting points.
      restarts: independent starts, >= 1.
      momentum: alpha in (0, 1]; 1 is none.
      rho: fraction of rising steps that counts as progress, in [0, 1].
      bounds: the pixels' interval, or None not to clip.

    Returns:
      `Attacked`: per example the best point met in all starts, the starting points included.

    Raises:
      TypeError: an integer image. ValueError: an argument out of range, or an image outside `bounds`
        whose values are known (not traced).

    References:
      Croce and Hein, *Reliable evaluation of adversarial robustness with an ensemble of diverse
      parameter-free attacks*, ICML 2020, algorithm 1.
    """
    checks.whole(1, steps=steps, restarts=restarts)
    checks.in_range(0.0, 1.0, momentum=momentum, rho=rho)
    checks.positive(momentum=momentum)
    check_ball(ball)
    check_bounds(bounds, ball)
    checks.pixels(bounds, image=image)

    origin = lax.stop_gradient(image).astype(jnp.float32)
    climb = frozen(loss, origin)
    marks = checkpoints(steps)[1:]
    # since[k]: steps from the last checkpoint to k if k is a checkpoint, else 0.
    since = np.zeros(steps + 1, np.int32)
    since[list(marks)] = np.diff((0, *marks))

    def onward(now: _Progress, momentum: Array) -> Array:
        stride = per_example(now.step_size, now.point) * ball.ascent(now.grad)
        ahead = within(origin, now.point + stride - origin, ball, bounds)
        move = momentum * (ahead - now.point) + (1.0 - momentum) * (now.point - now.previous)
        return within(origin, now.point + move - origin, ball, bounds)

    def advance(now: _Progress, momentum: Array) -> _Progress:
        point = onward(now, momentum)
        value, grad = value_and_slope(climb, point)
        wins = per_example(value > now.best.loss, point)
        return now._replace(
            point=point,
            previous=now.point,
            loss=value,
            grad=grad,
            best=better(now.best, Attacked(point, value)),
            best_grad=jnp.where(wins, grad, now.best_grad),
            rises=now.rises + (value > now.loss).astype(jnp.int32),
        )

    def reconsider(now: _Progress, interval: Array) -> _Progress:
        at_checkpoint = interval > 0
        enough = rho * interval.astype(jnp.float32)
        few_rises = now.rises.astype(jnp.float32) < enough  # condition 1
        stuck = ~now.halved & (now.best.loss <= now.checked_loss)  # condition 2
        halve = at_checkpoint & (few_rises | stuck)
        back = per_example(halve, now.point)
        return now._replace(
            point=jnp.where(back, now.best.image, now.point),
            loss=jnp.where(halve, now.best.loss, now.loss),
            grad=jnp.where(back, now.best_grad, now.grad),
            step_size=jnp.where(halve, now.step_size / 2.0, now.step_size),
            rises=jnp.where(at_checkpoint, 0, now.rises),
            checked_loss=jnp.where(at_checkpoint, now.best.loss, now.checked_loss),
            halved=jnp.where(at_checkpoint, halve, now.halved),
        )

    def step(k: Array, now: _Progress) -> _Progress:
        # The first step has no momentum: x_{-1} does not exist.
        weight = jnp.where(k == 0, jnp.float32(1.0), jnp.float32(momentum))
        return reconsider(advance(now, weight), jnp.asarray(since)[k + 1])

    def one_start(key: Key) -> Attacked:
        point = within(origin, start(key, ball, origin.shape), ball, bounds)
        value, grad = value_and_slope(climb, point)
        batch = value.shape
        first = _Progress(
            point=point,
            previous=point,
            loss=value,
            grad=grad,
            best=better(nothing_yet(point), Attacked(point, value)),
            best_grad=grad,
            step_size=jnp.full(batch, 2.0 * ball.radius, jnp.float32),
            rises=jnp.zeros(batch, jnp.int32),
            checked_loss=value,
            halved=jnp.zeros(batch, jnp.bool_),
        )
        return lax.fori_loop(0, steps, step, first).best

    return finished(best_of(key, one_start, restarts, origin), image.dtype)
