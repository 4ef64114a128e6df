"""The 8-bit grid of the published files, and the two layouts the corruptions compute in."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from varmixup_jax.types import Array

LEVELS = 255
"""Grey levels above black."""

SLACK = 2e-4
"""Grey levels added before truncation, so that on any device a float32 result of k - 1e-4 for an
exact integer k is not truncated to k - 1. No larger, as values that are really just below an integer
in the recipe are to be truncated."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the grey value (ITU-R BT.601)."""


def nearest(images: Array) -> Array:
    """The nearest multiples of 1/255 in [0, 1]: what an 8-bit file of `images` would hold."""
    return jnp.round(jnp.clip(images, 0.0, 1.0) * LEVELS) / LEVELS


def truncate(images: Array) -> Array:
    """Clips to [0, 1] and truncates to multiples of 1/255, as `np.uint8(255 * x)` does."""
    return jnp.floor(jnp.clip(images, 0.0, 1.0) * LEVELS + SLACK) / LEVELS


def integers(images: Array) -> Array:
    """The grey levels of images on the grid, int32 in 0 .. 255."""
    return jnp.round(images * LEVELS).astype(jnp.int32)


def luma(images: Array) -> Array:
    """The grey value of each pixel, `[..., C] -> [..., 1]`; the identity for one channel."""
    if images.shape[-1] == 1:
        return images
    red, green, blue = (images[..., c : c + 1] for c in range(3))
    return LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue


def tint(colour: tuple[float, float, float], channels: int) -> np.ndarray:
    """A colour (0 to 255 per channel) as float32 `[channels]` in [0, 1]; its luma for one channel."""
    rgb = np.asarray(colour, np.float32) / LEVELS
    return rgb if channels == 3 else np.asarray([rgb @ np.asarray(LUMA, np.float32)], np.float32)


def planar(images: Array) -> Array:
    """`[B, H, W, C] -> [H, B * C, W]`: a linear map of rows or of columns is one matrix product."""
    batch, height, width, channels = images.shape
    return images.transpose(1, 0, 3, 2).reshape(height, batch * channels, width)


def pixels(planes: Array, channels: int) -> Array:
    """The inverse of `planar`."""
    height, count, width = planes.shape
    split = planes.reshape(height, count // channels, channels, width)
    return split.transpose(1, 0, 3, 2)


def pick(column: np.ndarray, severity: Array) -> Array:
    """Row `severity - 1` of an array with a row per severity; `severity` may be traced."""
    return jnp.asarray(column, np.asarray(column).dtype)[severity - 1]
