"""Colour changes: brightness, contrast and saturate.

References: Hendrycks and Dietterich 2019, section 4.1 and the published generators; HSV as in
Smith 1978, "Color gamut transform pairs".
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from varmixup_jax.corruptions import grid
from varmixup_jax.corruptions.severity_tables import Table, column
from varmixup_jax.types import Array, Key


def brightness(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Adds c to the value V of HSV and clips V to [0, 1]; hue and saturation are kept.

    With V = max of the channels, keeping hue and saturation means x -> x V'/V; black becomes grey.
    V + c is a whole number of grey levels if 255 c is one (severity 4: 51), and the recipe's float64
    value is just below it for some V: those levels are tabulated in float64.

    Args:
      key: unused, deterministic.
      images: float32 `[B, H, W, C]` on the 8-bit grid.
      severity: int32 scalar, 1 to 5.
      table: columns (c,).

    Returns:
      float32 `[B, H, W, C]`.
    """
    del key
    shift = column(table, "brightness", 0)
    value = jnp.max(images, axis=-1, keepdims=True)
    lifted = jnp.minimum(value + grid.pick(shift.astype(np.float32), severity), 1.0)
    ratio = jnp.where(value > 0.0, images / jnp.maximum(value, 1e-6), 1.0)
    values = np.minimum(np.arange(grid.LEVELS + 1) / grid.LEVELS + shift[:, None], 1.0)
    levels = np.floor(values * grid.LEVELS).astype(np.float32)
    brightest = grid.pick(levels, severity)[grid.integers(value)] / grid.LEVELS
    return jnp.where(images == value, brightest, ratio * lifted)


def contrast(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Scales by c about the mean of each channel of each image: m + c (x - m).

    Args and Returns as `brightness`; columns (c,).
    """
    del key
    factor = _column(table, "contrast", 0, severity)
    mean = jnp.mean(images, axis=(1, 2), keepdims=True)
    return mean + factor * (images - mean)


def saturate(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Changes the saturation S of HSV to a S + b, clipped to [0, 1]; hue and value are kept.

    With V the largest channel and S = (V - min) / V, x = V (1 - S f) with a fraction f in [0, 1]
    per channel that depends only on the hue. Grey pixels have the hue of red, as usual. A single
    channel is treated as grey RGB and the luma of the result is returned.

    Args and Returns as `brightness`; columns (a, b).
    """
    del key
    scale, offset = (_column(table, "saturate", i, severity) for i in range(2))
    value = jnp.max(images, axis=-1, keepdims=True)
    spread = value - jnp.min(images, axis=-1, keepdims=True)
    saturation = jnp.where(value > 0.0, spread / jnp.maximum(value, 1e-6), 0.0)
    red = jnp.asarray([0.0, 1.0, 1.0]).reshape(1, 1, 1, 3)
    fraction = jnp.where(spread > 0.0, (value - images) / jnp.maximum(spread, 1e-6), red)
    changed = jnp.clip(saturation * scale + offset, 0.0, 1.0)
    result = value * (1.0 - changed * fraction)
    return result if images.shape[-1] == 3 else grid.luma(result)


def _column(table: Table, name: str, index: int, severity: Array) -> Array:
    return grid.pick(column(table, name, index).astype(np.float32), severity)
