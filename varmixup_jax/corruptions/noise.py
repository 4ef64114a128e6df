"""Noise: gaussian_noise, shot_noise, impulse_noise and speckle_noise.

Every function here takes images on the 8-bit grid and returns values that `corrupt` truncates to
it. References: Hendrycks and Dietterich 2019, section 4.1 and the published generators.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.corruptions import grid
from varmixup_jax.corruptions.severity_tables import Table, column
from varmixup_jax.types import Array, Key


def gaussian_noise(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Additive normal noise: x + s n, n ~ N(0, 1) per value.

    Args:
      key: typed key.
      images: float32 `[B, H, W, C]` in [0, 1].
      severity: int32 scalar, 1 to 5.
      table: columns (s,): standard deviation, in units of the full range.

    Returns:
      float32 `[B, H, W, C]`, not yet clipped.
    """
    scale = _parameter(table, "gaussian_noise", severity)
    return images + scale * jax.random.normal(key, images.shape)


def speckle_noise(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Multiplicative normal noise: x + x s n, n ~ N(0, 1) per value.

    Args and Returns as `gaussian_noise`; columns (s,).
    """
    scale = _parameter(table, "speckle_noise", severity)
    return images + images * (scale * jax.random.normal(key, images.shape))


def impulse_noise(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Salt and pepper: each *value* becomes 0 or 1 with probability a/2 each.

    Args and Returns as `gaussian_noise`; columns (a,): the fraction of values replaced.
    """
    amount = _parameter(table, "impulse_noise", severity)
    draw = jax.random.uniform(key, images.shape)
    salted = jnp.where(draw < amount, 1.0, images)
    return jnp.where(draw < 0.5 * amount, 0.0, salted)


def shot_noise(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Photon noise: k / c with k ~ Poisson(c x) per value.

    The images hold at most 256 intensities, so the 256 distribution functions are tabulated and a
    uniform draw is inverted by bisection: exact to the resolution of float32, with no rejection
    loop. The draw is cut at c + 7 sqrt(c) + 10 photons; the tail beyond is below 1e-9.

    Args and Returns as `gaussian_noise`; columns (c,): photons of a white pixel.
    """
    photons = column(table, "shot_noise", 0)
    brightest = float(photons.max())
    count = math.ceil(brightest + 7.0 * math.sqrt(brightest) + 10.0)
    exposure = grid.pick(photons.astype(np.float32), severity)
    cumulative = _poisson_cumulative(exposure, count)
    level = grid.integers(images)
    draw = jax.random.uniform(key, images.shape)

    def halve(_: int, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) // 2
        above = cumulative[level * count + middle] > draw
        return jnp.where(above, low, middle + 1), jnp.where(above, middle, high)

    first = jnp.zeros_like(level)
    steps = math.ceil(math.log2(count))
    low, _ = jax.lax.fori_loop(0, steps, halve, (first, first + (count - 1)))
    return low.astype(jnp.float32) / exposure


def _poisson_cumulative(exposure: Array, count: int) -> Array:
    """P(k <= j) for the rates exposure * (0 .. 255) / 255, flattened `[256 * count]`."""
    log_factorial = np.cumsum(np.log(np.maximum(np.arange(count), 1))).astype(np.float32)
    rate = jnp.maximum(exposure * (jnp.arange(256.0) / grid.LEVELS), 1e-30)[:, None]
    log_mass = jnp.arange(float(count))[None] * jnp.log(rate) - rate - log_factorial[None]
    cumulative = jnp.cumsum(jnp.exp(log_mass), axis=1)
    return (cumulative / cumulative[:, -1:]).reshape(-1)


def _parameter(table: Table, name: str, severity: Array) -> Array:
    return grid.pick(column(table, name, 0).astype(np.float32), severity)
