"""AugMix: a vicinity of images mixed with results of chains of simple operations on them.

    x' = (1 - m) x + m sum_k w_k chain_k(x),   w ~ Dirichlet(alpha),  m ~ Beta(alpha, alpha),

each chain being one to three operations of `OPERATIONS`, drawn per example (Hendrycks et al. 2020,
algorithm 1). None of them is among the test corruptions. The label is kept.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from varmixup_jax import checks
from varmixup_jax.types import Array, Draw, Env, Key, Vicinity
from varmixup_jax.vicinal.augmix_operations import BRANCHES, apply
from varmixup_jax.vicinal.gamma import log_gamma
from varmixup_jax.vicinal.mixing import dirac, interpolate

TONE = BRANCHES[1:-1]
OPERATIONS = (*TONE, "rotate", "shear_x", "shear_y", "translate_x", "translate_y")
"""The operations of chains, each with probability 1/9."""

WEAKEST, STRONGEST = 0.1, 10.0
"""Range of the severity."""


class Plan(NamedTuple):
    """The drawn operations of chains; the arguments of `operations.apply`, with leading axes.

    Attributes:
      branch: int32 `[...]`, an index of `operations.BRANCHES`.
      level: int32 `[...]`, of posterize and solarize.
      matrix: float32 `[..., 6]`, of the geometric operations.
    """

    branch: Array
    level: Array
    matrix: Array


def plan_of(operation: Array, strength: Array, height: int, width: int) -> Plan:
    """The arguments of operations of given strength.

    With u = |strength| in [0, 10]: posterize to 4 - int(4u/10) bits; solarize from level
    256 - int(256u/10) up; rotate by int(30u/10) degrees; shear by 0.3u/10; translate by
    int(u/10 side/3) pixels; the last three in the direction of strength's sign. autocontrast and
    equalize have no strength.

    Args:
      operation: int32 `[...]`, an index of `OPERATIONS`.
      strength: float32 `[...]`.
      height, width: of the images, in pixels.

    Returns:
      The plan, leading axes as given.
    """
    part = jnp.abs(strength) / STRONGEST
    sign = jnp.sign(strength)
    posterize = operation == OPERATIONS.index("posterize")
    level = jnp.where(posterize, 4 - jnp.trunc(4 * part), 256 - jnp.trunc(256 * part))

    angle = sign * jnp.trunc(30 * part) * (math.pi / 180)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    shear = 0.3 * part * sign
    right = sign * jnp.trunc(part * (width / 3))
    down = sign * jnp.trunc(part * (height / 3))
    one, zero = jnp.ones_like(part), jnp.zeros_like(part)
    mid_x, mid_y = width / 2, height / 2  # rotations keep the centre
    turned = (mid_x - cos * mid_x + sin * mid_y, mid_y - sin * mid_x - cos * mid_y)
    matrices = (
        (cos, -sin, turned[0], sin, cos, turned[1]),
        (one, shear, zero, zero, one, zero),
        (one, zero, zero, shear, one, zero),
        (one, zero, right, zero, one, zero),
        (one, zero, zero, zero, one, down),
    )
    which = jnp.clip(operation - len(TONE), 0, len(matrices) - 1)
    stacked = jnp.stack([jnp.stack(matrix, axis=-1) for matrix in matrices])
    matrix = jnp.take_along_axis(stacked, which[None, ..., None], axis=0)[0]
    return Plan(jnp.minimum(operation + 1, len(BRANCHES) - 1), level.astype(jnp.int32), matrix)


def draw_plan(
    key: Key, shape: tuple[int, int, int], severity: float, size: tuple[int, int]
) -> Plan:
    """Draws the operations of chains.

    Operations are uniform over `OPERATIONS`, strengths uniform in [0.1, severity] with a random sign,
    a chain's length uniform in 1, ..., depth; past its length a chain does nothing.

    Args:
      key: the randomness.
      shape: (examples, chains, depth).
      severity: in [0.1, 10].
      size: (height, width) of the images.

    Returns:
      The plan, `[examples, chains, depth]`.
    """
    operation_key, strength_key, sign_key, length_key = jax.random.split(key, 4)
    operation = jax.random.randint(operation_key, shape, 0, len(OPERATIONS))
    strength = jax.random.uniform(strength_key, shape, jnp.float32, WEAKEST, severity)
    strength = strength * jax.random.rademacher(sign_key, shape, jnp.float32)
    length = jax.random.randint(length_key, (*shape[:2], 1), 1, shape[2] + 1)
    plan = plan_of(operation, strength, *size)
    runs = jnp.arange(shape[2])[None, None] < length
    return plan._replace(branch=jnp.where(runs, plan.branch, BRANCHES.index("identity")))


def draw_amounts(key: Key, batch: int, chains: int, alpha: float) -> tuple[Array, Array]:
    """Weights w ~ Dirichlet(alpha, ..., alpha) and amounts m ~ Beta(alpha, alpha), per example.

    Both are ratios of independent Gamma(alpha) variables, all drawn at once and kept as logarithms.

    Returns:
      w, float32 `[batch, chains]`, rows sum to 1, and m, float32 `[batch]`.
    """
    draws = log_gamma(key, alpha, (batch, chains + 2))
    amount = jax.nn.sigmoid(draws[:, chains] - draws[:, chains + 1])
    return jax.nn.softmax(draws[:, :chains]), amount


@jax.jit
def run_chains(image: Array, plan: Plan) -> Array:
    """Every chain of every image: `[B, H, W, C]` and a plan `[B, chains, depth]`.

    On a CPU one image at a time, so that only the drawn operation is computed; on an accelerator all
    images at once, where computing all six and keeping one is cheaper.

    Returns:
      float32 `[B, chains, H, W, C]`.
    """
    batch, chains, depth = plan.branch.shape

    def one(arguments: tuple[Array, Plan]) -> Array:
        image, plan = arguments
        return lax.fori_loop(0, depth, lambda i, x: apply(x, *(a[i] for a in plan)), image)

    each = partial(lax.map, one) if jax.default_backend() == "cpu" else jax.vmap(one)
    flat = jax.tree.map(lambda a: a.reshape(batch * chains, *a.shape[2:]), plan)
    out = each((jnp.repeat(image, chains, axis=0), flat))
    return out.reshape(batch, chains, *image.shape[1:])


def blend(image: Array, chains: Array, weights: Array, amount: Array) -> Array:
    """(1 - m) x + m sum_k w_k chain_k(x).

    Args:
      image: float32 `[B, H, W, C]` in [0, 1].
      chains: float32 `[B, chains, H, W, C]` in [0, 1].
      weights: w, float32 `[B, chains]`, rows sum to 1.
      amount: m, float32 `[B]` in [0, 1].

    Returns:
      float32 `[B, H, W, C]` in [0, 1]; exactly `image` where m is 0.
    """
    mixed = jnp.einsum("bk...,bk->b...", chains, weights, precision=lax.Precision.HIGHEST)
    return jnp.clip(interpolate(image, mixed, 1.0 - amount), 0.0, 1.0)


def _augmix(
    key: Key, env: Env, draw: Draw, *, severity: float, alpha: float, chains: int, depth: int
) -> Draw:
    del env
    checks.floating("pixels in [0, 1]", image=draw.image)
    plan_key, amounts_key = jax.random.split(key)
    batch, height, width, _ = draw.image.shape
    image = draw.image.astype(jnp.float32)
    plan = draw_plan(plan_key, (batch, chains, depth), severity, (height, width))
    mixed = blend(image, run_chains(image, plan), *draw_amounts(amounts_key, batch, chains, alpha))
    return draw._replace(image=mixed.astype(draw.image.dtype), latent=None)


def augmix(
    *, severity: float = 3.0, alpha: float = 1.0, chains: int = 3, depth: int = 3
) -> Vicinity:
    r"""AugMix: each image mixed with a random mixture of chains of operations on it.

    .. math::
        x' = (1 - m) x + m \sum_k w_k\, \mathrm{chain}_k(x), \quad
        w \sim \mathrm{Dirichlet}(\alpha), \quad m \sim \mathrm{Beta}(\alpha, \alpha)

    with chains of one to `depth` operations, drawn per example: autocontrast, equalize, posterize,
    solarize, rotate, shear and translate. None of them is among the test corruptions.

    The defaults are the paper's for CIFAR. What differs from the authors' code: images are rounded to
    grey levels only before the four tonal operations, not after geometric ones; and the largest
    translation is a third of the image's own side, where theirs is a third of 32 pixels.

    Args:
      severity: strengths are uniform in [0.1, severity], 10 the strongest; 0 changes nothing.
      alpha: of Dirichlet(alpha) and Beta(alpha, alpha), >= 0; 0 changes nothing.
      chains: number of chains that are mixed, >= 1.
      depth: the longest chain, in operations, >= 1.

    Returns:
      A vicinity that changes only `image` (`dirac` itself if nothing is changed).

    Raises:
      ValueError: a value out of range.

    References:
      Hendrycks, Mu, Cubuk, Zoph, Gilmer, Lakshminarayanan, *AugMix*, ICLR 2020, algorithm 1.

    >>> augmix(severity=0.0) is dirac
    True
    """
    checks.in_range(0.0, STRONGEST, severity=severity)
    if 0 < severity < WEAKEST:
        raise ValueError(f"severity = {severity}: must be 0 or lie in [{WEAKEST}, {STRONGEST}]")
    checks.non_negative(alpha=alpha)
    checks.whole(1, chains=chains, depth=depth)
    if severity == 0 or alpha == 0:
        return dirac
    return partial(_augmix, severity=severity, alpha=alpha, chains=chains, depth=depth)
