"""Elastic deformation: a random affine map, then a smooth random displacement.

References: Simard, Steinkraus and Platt 2003 (the displacement field); Hendrycks and Dietterich
2019, section 4.1 and the published generators.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.corruptions import grid, linear
from varmixup_jax.corruptions.severity_tables import Table, column
from varmixup_jax.types import Array, Key

FIELD_TRUNCATE = 3.0
"""The displacement's Gaussian is cut at this many sigma."""

SUBPIXEL = 32.0
"""OpenCV samples an affine map at multiples of 1/32 pixel."""


def elastic_transform(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """An affine map of three jittered points, then x -> x(p + alpha u(p)) with u smoothed noise.

    Args:
      key: typed key.
      images: float32 `[B, S, S, C]` in [0, 1].
      severity: int32 scalar, 1 to 5.
      table: columns (alpha, sigma, jitter), as fractions of S.

    Returns:
      float32 `[B, S, S, C]`.
    """
    batch, size = images.shape[:2]
    alpha, sigma, jitter = (column(table, "elastic_transform", i) * size for i in range(3))
    reach = grid.pick(jitter.astype(np.float32), severity)
    draw = jax.random.uniform(key, (batch, 6 + 2 * size * size), minval=-1.0, maxval=1.0)
    moved = reach * draw[:, :6].reshape(batch, 3, 2)
    warped = affine(images, moved)
    blurs = [linear.gaussian(size, s, FIELD_TRUNCATE, border="reflect") for s in sigma]
    noise = draw[:, 6:].reshape(batch, size, size, 2)
    field = linear.both(grid.pick(np.stack(blurs), severity), grid.planar(noise))
    field = grid.pick(alpha.astype(np.float32), severity) * grid.pixels(field, 2)
    return displace(warped, field)


def affine(images: Array, moved: Array) -> Array:
    """Maps three points of each image onto moved ones; borders mirrored about the edge pixel.

    The points are (c + q, c + q), (c + q, c - q) and (c - q, c - q), (x, y), with c = S // 2 and
    q = S // 3.

    Args:
      images: float32 `[B, S, S, C]`.
      moved: float32 `[B, 3, 2]`, displacement (x, y) of each point in pixels.

    Returns:
      float32 `[B, S, S, C]`.
    """
    size = images.shape[1]
    far, near = size // 2 + size // 3, size // 2 - size // 3
    start = np.array([[far, far], [far, near], [near, near]], np.float32)
    end = start[None] + moved
    # The output is read through the inverse map: source = p + E1 E2^-1 (target - q).
    edge = jnp.asarray((start[:2] - start[2]).T)
    first, second = end[:, 0] - end[:, 2], end[:, 1] - end[:, 2]
    determinant = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    inverse = jnp.stack(
        [
            jnp.stack([second[:, 1], -second[:, 0]], axis=-1),
            jnp.stack([-first[:, 1], first[:, 0]], axis=-1),
        ],
        axis=1,
    )
    inverse = inverse / determinant[:, None, None]
    back = jnp.einsum("ij,bjk->bik", edge, inverse, precision=jax.lax.Precision.HIGHEST)
    origin = end[:, 2][:, None, None]
    row, col = _places(size)
    delta = jnp.stack([col, row], axis=-1)[None] - origin
    x = back[:, 0, 0, None, None] * delta[..., 0] + back[:, 0, 1, None, None] * delta[..., 1]
    y = back[:, 1, 0, None, None] * delta[..., 0] + back[:, 1, 1, None, None] * delta[..., 1]
    x, y = (jnp.round((v + start[2, 0]) * SUBPIXEL) / SUBPIXEL for v in (x, y))
    return _bilinear(images, y, x, overhang=0.0)


def displace(images: Array, field: Array) -> Array:
    """Reads each pixel at its position plus a displacement; borders mirrored with the edge pixel.

    Args:
      images: float32 `[B, S, S, C]`.
      field: float32 `[B, S, S, 2]`, displacement (right, down) in pixels.

    Returns:
      float32 `[B, S, S, C]`, bilinear.
    """
    size = images.shape[1]
    row, col = _places(size)
    y, x = row[None] + field[..., 1], col[None] + field[..., 0]
    return _bilinear(images, y, x, overhang=0.5)


def _places(size: int) -> tuple[Array, Array]:
    row, col = np.mgrid[:size, :size].astype(np.float32)
    return jnp.asarray(row), jnp.asarray(col)


def _mirror(at: Array, last: int, overhang: float) -> Array:
    """Folds coordinates back into [0, last], mirrored at `overhang` beyond the outer pixels."""
    span = last + 2.0 * overhang
    folded = jnp.abs((at + overhang + span) % (2.0 * span) - span) - overhang
    return jnp.clip(folded, 0.0, float(last))


def _bilinear(images: Array, y: Array, x: Array, overhang: float) -> Array:
    """Order-1 sampling at `[B, S, S]` coordinates, borders mirrored; see `_mirror`."""
    batch, size, _, channels = images.shape
    y, x = _mirror(y, size - 1, overhang), _mirror(x, size - 1, overhang)
    top = jnp.minimum(jnp.floor(y), size - 2.0)
    left = jnp.minimum(jnp.floor(x), size - 2.0)
    part_y, part_x = (y - top)[..., None], (x - left)[..., None]
    # The four neighbours side by side: one gather instead of four.
    right = jnp.roll(images, -1, axis=2)
    four = jnp.concatenate([images, right, jnp.roll(images, -1, 1), jnp.roll(right, -1, 1)], axis=3)
    index = (top * size + left).astype(jnp.int32).reshape(batch, size * size, 1)
    flat = jnp.take_along_axis(four.reshape(batch, size * size, 4 * channels), index, axis=1)
    read = flat.reshape(batch, size, size, 4, channels)
    upper = read[..., 0, :] * (1.0 - part_x) + read[..., 1, :] * part_x
    lower = read[..., 2, :] * (1.0 - part_x) + read[..., 3, :] * part_x
    return upper * (1.0 - part_y) + lower * part_y
