"""Resampling and compression: pixelate and jpeg_compression.

References: Hendrycks and Dietterich 2019, section 4.1 and the published generators; ITU-T T.81
(JPEG) for the tables and the transform, JFIF 1.02 for the colours.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.corruptions import grid, jpeg, linear
from varmixup_jax.corruptions.severity_tables import Table, column
from varmixup_jax.types import Array, Key


def pixelate(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Box-resizes to floor(S c) pixels per side and back, rounding after each pass as Pillow does.

    Args:
      key: unused, deterministic.
      images: float32 `[B, S, S, C]` on the 8-bit grid.
      severity: int32 scalar, 1 to 5.
      table: columns (c,): side of the small image relative to the original.

    Returns:
      float32 `[B, S, S, C]` on the 8-bit grid.
    """
    del key
    size, channels = images.shape[1], images.shape[3]
    small = [int(size * c) for c in column(table, "pixelate", 0)]
    shrink = grid.pick(np.stack([linear.box_resize(size, n, size) for n in small]), severity)
    grow = grid.pick(np.stack([linear.box_resize(n, size, size) for n in small]), severity)
    planes = grid.planar(images) * grid.LEVELS
    for matrix in (shrink, grow):
        planes = _round(linear.columns(matrix, planes))
        planes = _round(linear.rows(matrix, planes))
    return grid.pixels(planes, channels) / grid.LEVELS


def jpeg_compression(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """JPEG compression and decoding, with chroma halved in both directions; see `jpeg.recompress`.

    Args and Returns as `pixelate`; columns (quality,), 1 to 100.
    """
    del key
    quality = column(table, "jpeg_compression", 0)
    luminance, chrominance = jpeg.quantisation(quality)
    levels = grid.integers(images)
    decoded = jpeg.recompress(
        levels, grid.pick(luminance, severity), grid.pick(chrominance, severity)
    )
    return decoded.astype(jnp.float32) / grid.LEVELS


def _round(planes: jax.Array) -> jax.Array:
    return jnp.floor(planes + 0.5)
