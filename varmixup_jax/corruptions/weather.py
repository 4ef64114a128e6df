"""Weather: fog and snow (frost has its own module, brightness is in `colour`).

References: Hendrycks and Dietterich 2019, section 4.1 and the published generators; the fog is the
diamond-square "plasma" fractal of Fournier, Fussell and Carpenter 1982.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.corruptions import grid, linear, motion
from varmixup_jax.corruptions.severity_tables import Table, column
from varmixup_jax.types import Array, Key

WIBBLE = 100.0
"""First amplitude of the plasma; it only matters relative to the later ones."""

STREAK_ANGLES = (-135.0, -45.0)
"""Range of the direction of the snow's streaks, in degrees."""


def fog(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """A plasma fractal added and the range restored: (x + c p) m / (m + c), m = max of the image.

    Args:
      key: typed key.
      images: float32 `[B, S, S, C]` in [0, 1].
      severity: int32 scalar, 1 to 5.
      table: columns (c: thickness, decay: of the plasma's amplitude per level).

    Returns:
      float32 `[B, S, S, C]`.
    """
    thickness, decay = (_column(table, "fog", i, severity) for i in range(2))
    size = images.shape[1]
    haze = plasma(key, images.shape[0], size, decay)[..., None]
    brightest = jnp.max(images, axis=(1, 2, 3), keepdims=True)
    return (images + thickness * haze) * (brightest / (brightest + thickness))


def plasma(key: Key, count: int, size: int, decay: Array) -> Array:
    """Diamond-square height maps on a torus, starting from 0 at the corner, normalised to [0, 1].

    At each level every new point is the mean of its four neighbours plus wibble^2 u with u uniform
    in (-1, 1), first the centres of the squares, then the centres of the edges; wibble starts at
    100 and is divided by `decay` per level.

    Args:
      key: typed key.
      count: B, how many maps.
      size: S; the map is made at the next power of two and cropped at the top left.
      decay: float32 scalar > 1.

    Returns:
      float32 `[B, S, S]`.
    """
    levels = max(size - 1, 1).bit_length()
    height = jnp.zeros((count, 1, 1))
    wibble = jnp.float32(WIBBLE)
    draws = jax.random.uniform(key, (count, 4**levels - 1), minval=-1.0, maxval=1.0)
    for level in range(levels):
        side = 2**level
        draw = draws[:, side**2 - 1 : 4 * side**2 - 1].reshape(count, 3, side, side) * wibble**2
        below, right = jnp.roll(height, -1, axis=1), jnp.roll(height, -1, axis=2)
        centre = (height + below + right + jnp.roll(below, -1, axis=2)) / 4.0 + draw[:, 0]
        top = (centre + jnp.roll(centre, 1, axis=1) + height + right) / 4.0 + draw[:, 1]
        left = (centre + jnp.roll(centre, 1, axis=2) + height + below) / 4.0 + draw[:, 2]
        even = jnp.stack([height, top], axis=3).reshape(count, side, 2 * side)
        odd = jnp.stack([left, centre], axis=3).reshape(count, side, 2 * side)
        height = jnp.stack([even, odd], axis=2).reshape(count, 2 * side, 2 * side)
        # Without the barrier the levels are fused with one another, which is slow to compile.
        height = jax.lax.optimization_barrier(height)
        wibble = wibble / decay
    height = height - jnp.min(height, axis=(1, 2), keepdims=True)
    height = height / jnp.max(height, axis=(1, 2), keepdims=True)
    return height[:, :size, :size]


def snow(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Wind-blown flakes over an image that is blended towards a pale grey.

    A layer of normal noise is zoomed, cut below a threshold, and streaked along an angle uniform in
    (-135, -45) degrees. With g the grey value,
    out = mix x + (1 - mix) max(x, 1.5 g + 0.5) + layer + layer rotated by 180 degrees.

    Args:
      key: typed key.
      images: float32 `[B, S, S, C]` in [0, 1].
      severity: int32 scalar, 1 to 5.
      table: columns (mean, standard deviation, zoom, threshold, streak radius in pixels, streak
        sigma in pixels, mix).

    Returns:
      float32 `[B, S, S, C]`.
    """
    noise_key, angle_key = jax.random.split(key)
    mean, deviation, _, threshold, _, _, mix = (
        _column(table, "snow", i, severity) for i in range(7)
    )
    zoom, radius, sigma = (column(table, "snow", i) for i in (2, 4, 5))
    batch, size = images.shape[:2]
    matrix = grid.pick(np.stack([linear.centre_zoom(size, z) for z in zoom]), severity)
    noise = mean + deviation * jax.random.normal(noise_key, (batch, size, size, 1))
    flakes = grid.pixels(linear.both(matrix, grid.planar(noise)), 1)
    flakes = grid.truncate(jnp.where(flakes < threshold, 0.0, flakes))
    low, high = STREAK_ANGLES
    degrees = jax.random.uniform(angle_key, (batch,), minval=low, maxval=high)
    layer = motion.streak(flakes, degrees, radius, sigma, severity)
    pale = jnp.maximum(images, 1.5 * grid.luma(images) + 0.5)
    return mix * images + (1.0 - mix) * pale + layer + layer[:, ::-1, ::-1]


def _column(table: Table, name: str, index: int, severity: Array) -> Array:
    return grid.pick(column(table, name, index).astype(np.float32), severity)
