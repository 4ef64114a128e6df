"""Attacks: the worst image in a ball around each example, by projected gradient ascent.

An attack only needs a loss per example as a function of the image; as a vicinity (`attack`) it is one
more way of sampling around an example.

Images, perturbations, losses and gradients are float32, whatever the network's dtype. A network that
trains in bfloat16 is attacked in bfloat16, the function that is being trained; bfloat16 has the
exponent range of float32, so gradients do not underflow to zero, which would lose their sign.
Measures never depend on it: `models.forward.for_measures`.
"""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
from jax import lax

from varmixup_jax import checks
from varmixup_jax.attacks.balls import (
    Ball,
    Start,
    gaussian_start,
    l2,
    linf,
    uniform_start,
    zero_start,
)
from varmixup_jax.attacks.search import (
    PIXELS,
    Attacked,
    Bounds,
    Loss,
    best_of,
    better,
    check_ball,
    check_bounds,
    check_step,
    finished,
    frozen,
    nothing_yet,
    value_and_slope,
    within,
)
from varmixup_jax.types import Array, Distance, Draw, Env, Key, Vicinity

__all__ = [
    "Attacked",
    "attack",
    "gaussian_start",
    "l2",
    "linf",
    "pgd",
    "uniform_start",
    "zero_start",
]

KEEP = ("last", "best")


def pgd(
    key: Key,
    image: Array,
    loss: Loss,
    *,
    ball: Ball,
    steps: int,
    step_size: float | Array,
    start: Start = uniform_start,
    restarts: int = 1,
    keep: str = "last",
    bounds: Bounds = PIXELS,
) -> Attacked:
    r"""Projected gradient ascent on a per-example loss inside a ball around each image.

    .. math::
        x_0 = P(x + \delta_0), \quad x_{t+1} = P(x_t + \eta\, \mathrm{ascent}(\nabla \ell(x_t)))

    with P the projection onto the ball around x, then onto `bounds`. The loop is a `fori_loop`: memory
    does not grow with `steps`. No gradient flows through the result, nor into what `loss` closes
    over.

    Args:
      key: for the starting points.
      image: floating `[B, H, W, C]`, within `bounds`.
      loss: `image -> [B]`, maximised; called with float32 images.
      ball: `linf(eps)`, `l2(eps)` or your own `Ball`.
      steps: gradient steps, >= 0.
      step_size: length of a step in the ball's norm, in pixel units, >= 0.
      start: `uniform_start`, `gaussian_start(sigma)`, `zero_start` or your own `Start`.
      restarts: independent starts, >= 1; the best of them is kept per example.
      keep: "last": the end point of a start; "best": its best iterate, the starting point included.
      bounds: the pixels' interval, or None not to clip.

    Returns:
      `Attacked`: images in the ball and in `bounds` (to the rounding of the image's dtype), and
      their loss. A NaN loss never counts as better.

    Raises:
      TypeError: an integer image. ValueError: an argument out of range, or an image outside `bounds`
        whose values are known (not traced).

    References:
      Madry et al., *Towards Deep Learning Models Resistant to Adversarial Attacks*, ICLR 2018,
      section 2.1.

    >>> import jax
    >>> image = jnp.full((1, 1, 1, 2), 0.5)
    >>> brighter = lambda image: image.sum(axis=(1, 2, 3))
    >>> found = pgd(jax.random.key(0), image, brighter, ball=linf(0.25), steps=3, step_size=0.25)
    >>> found.image.ravel().tolist()
    [0.75, 0.75]
    """
    checks.whole(0, steps=steps)
    checks.whole(1, restarts=restarts)
    checks.one_of(KEEP, keep=keep)
    check_step(step_size)
    check_ball(ball)
    check_bounds(bounds, ball)
    checks.pixels(bounds, image=image)

    origin = lax.stop_gradient(image).astype(jnp.float32)
    climb = frozen(loss, origin)

    def one_start(key: Key) -> Attacked:
        first = within(origin, start(key, ball, origin.shape), ball, bounds)

        def step(_: Array, carry: tuple[Array, Attacked]) -> tuple[Array, Attacked]:
            point, best = carry
            value, grad = value_and_slope(climb, point)
            if keep == "best":
                best = better(best, Attacked(point, value))
            moved = point + step_size * ball.ascent(grad)
            return within(origin, moved - origin, ball, bounds), best

        point, best = lax.fori_loop(0, steps, step, (first, nothing_yet(first)))
        last = Attacked(point, climb(point))
        return better(best, last) if keep == "best" else last

    return finished(best_of(key, one_start, restarts, origin), image.dtype)


def attack(
    distance: Distance,
    *,
    ball: Ball,
    steps: int,
    step_size: float,
    start: Start = uniform_start,
    restarts: int = 1,
    keep: str = "last",
) -> Vicinity:
    r"""The adversarial vicinity: x' maximises a distance within a ball around x, the label is kept.

    .. math::
        x' \approx \mathrm{argmax}_{x' \in B(x)}\, \mathrm{distance}(f(x'), y, f(x))

    by `pgd` in pixel space, clipped to [0, 1]. f is `env.logits`, which decides the BatchNorm mode;
    f(x) is constant.

    Args:
      distance: what is maximised, e.g. `ce` (Madry et al. 2018) or `kl_to_clean` (TRADES).
      ball, steps, step_size, start, restarts, keep: as in `pgd`.

    Returns:
      A vicinity; it prints as names and numbers.

    Raises:
      ValueError: an argument out of range.
    """
    checks.whole(0, steps=steps)
    checks.whole(1, restarts=restarts)
    checks.one_of(KEEP, keep=keep)
    check_step(step_size)
    check_ball(ball)
    return partial(
        _attack,
        distance=distance,
        ball=ball,
        steps=steps,
        step_size=step_size,
        start=start,
        restarts=restarts,
        keep=keep,
    )


def _attack(key: Key, env: Env, draw: Draw, *, distance: Distance, **settings) -> Draw:
    clean_logits = lax.stop_gradient(env.logits(draw.image))
    label = lax.stop_gradient(draw.label)

    def loss(image: Array) -> Array:
        return distance(env.logits(image), label, clean_logits)

    found = pgd(key, draw.image, loss, **settings)
    return draw._replace(image=found.image, latent=None)
