"""Image operations that are not among the test corruptions: four tonal and five geometric ones.

Each maps one image, float32 `[H, W, C]` in [0, 1], to another. Tonal operations work on grey levels,
as Pillow does: the image is first rounded to multiples of 1/255, and so is the result. The five
geometric ones (rotate, shear_x, shear_y, translate_x, translate_y) are one, `warp`, with a matrix.

`apply` runs one of them by number. Under `lax.map` only that one is computed; under `vmap` all are,
and one is kept.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from varmixup_jax.corruptions.grid import LEVELS, integers
from varmixup_jax.types import Array

BRANCHES = ("identity", "autocontrast", "equalize", "posterize", "solarize", "warp")
"""The operations in the order of the numbers that `apply` takes."""


def autocontrast(image: Array) -> Array:
    """Stretches each channel so that its darkest level becomes 0 and its brightest 1.

    v -> floor(255 (v - lo) / (hi - lo)) on grey levels; a channel of one level is kept. Pillow
    computes this in floating point, and is occasionally one lower if the quotient is whole.

    >>> autocontrast(jnp.array([51.0, 102.0, 153.0]).reshape(1, 3, 1) / 255).ravel().tolist()
    [0.0, 0.49..., 1.0]
    """
    level = _grey_levels(image)
    low = jnp.min(level, axis=(0, 1), keepdims=True)
    span = jnp.max(level, axis=(0, 1), keepdims=True) - low
    stretched = _quotient((level - low) * LEVELS, span)
    return _pixels(jnp.where(span > 0, stretched, level))


def equalize(image: Array) -> Array:
    """Equalizes each channel's histogram as far as a map of grey levels can.

    v -> floor((s // 2 + n(< v)) / s) with n(< v) the number of darker pixels and s = floor of (all
    pixels but the brightest level's) / 255; with s = 0, as in small images, the channel is kept.

    >>> bool(jnp.allclose(equalize(jnp.full((32, 32, 1), 0.2)), 0.2))
    True
    """
    level = _grey_levels(image)
    flat = level.reshape(-1, level.shape[-1])
    channel = jnp.arange(flat.shape[-1])
    empty = jnp.zeros((LEVELS + 1, flat.shape[-1]), jnp.int32)
    histogram = empty.at[flat, channel].add(1, mode="promise_in_bounds")
    darker = (jnp.cumsum(histogram, axis=0) - histogram).at[flat, channel]
    brightest = jnp.sum(flat == jnp.max(flat, axis=0, keepdims=True), axis=0, keepdims=True)
    step = (flat.shape[0] - brightest) // LEVELS
    even = _quotient(step // 2 + darker.get(mode="promise_in_bounds"), step)
    even = jnp.where(step > 0, jnp.minimum(even, LEVELS), flat)
    return _pixels(even.reshape(level.shape))


def posterize(image: Array, bits: Array) -> Array:
    """Keeps the highest `bits` (int32, 0 to 8) bits of each grey level.

    >>> (posterize(jnp.full((1, 1, 1), 1.0), 2) * 255).ravel().tolist()
    [192.0]
    """
    return _pixels(_grey_levels(image) & ~((1 << (8 - bits)) - 1))


def solarize(image: Array, threshold: Array) -> Array:
    """Inverts the grey levels at or above `threshold` (int32, 0 to 256).

    >>> solarize(jnp.array([0.0, 1.0]).reshape(1, 2, 1), 128).ravel().tolist()
    [0.0, 0.0]
    """
    level = _grey_levels(image)
    return _pixels(jnp.where(level < threshold, level, LEVELS - level))


def warp(image: Array, matrix: Array) -> Array:
    """Reads each pixel at an affine function of its position, bilinearly; black outside the image.

    With pixel centres at halves, (x, y) -> (a x + b y + c, d x + e y + f). Between the outermost
    centres and the border, the outermost pixel is repeated. This is Pillow's `Image.transform` with
    AFFINE and BILINEAR, without its truncation to grey levels.

    Args:
      image: float32 `[H, W, C]`.
      matrix: float32 `[6]`, (a, b, c, d, e, f), in pixels.

    Returns:
      float32 `[H, W, C]`.

    >>> row = jnp.arange(3.0).reshape(1, 3, 1)
    >>> warp(row, jnp.array([1.0, 0, 1, 0, 1, 0])).ravel().tolist()
    [1.0, 2.0, 0.0]
    """
    height, width, channels = image.shape
    y = jnp.arange(height, dtype=jnp.float32)[:, None] + 0.5
    x = jnp.arange(width, dtype=jnp.float32)[None, :] + 0.5
    a, b, c, d, e, f = matrix
    from_x, from_y = a * x + b * y + c, d * x + e * y + f
    inside = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
    left, top = jnp.floor(from_x - 0.5), jnp.floor(from_y - 0.5)
    part_x, part_y = (from_x - 0.5 - left)[..., None], (from_y - 0.5 - top)[..., None]
    flat = image.reshape(height * width, channels)

    def read(row: Array, column: Array) -> Array:
        row = jnp.clip(row, 0.0, height - 1.0).astype(jnp.int32)
        column = jnp.clip(column, 0.0, width - 1.0).astype(jnp.int32)
        return flat.at[row * width + column].get(mode="promise_in_bounds")

    upper = read(top, left) * (1.0 - part_x) + read(top, left + 1.0) * part_x
    lower = read(top + 1.0, left) * (1.0 - part_x) + read(top + 1.0, left + 1.0) * part_x
    return jnp.where(inside[..., None], upper * (1.0 - part_y) + lower * part_y, 0.0)


def apply(image: Array, branch: Array, level: Array, matrix: Array) -> Array:
    """Runs one operation.

    Args:
      image: float32 `[H, W, C]` in [0, 1].
      branch: int32 `[]`, an index of `BRANCHES`.
      level: int32 `[]`, bits of `posterize` or threshold of `solarize`; unused by the others.
      matrix: float32 `[6]`, of `warp`; unused by the others.

    Returns:
      float32 `[H, W, C]` in [0, 1].
    """
    return lax.switch(
        branch,
        (
            lambda image, level, matrix: image,
            lambda image, level, matrix: autocontrast(image),
            lambda image, level, matrix: equalize(image),
            lambda image, level, matrix: posterize(image, level),
            lambda image, level, matrix: solarize(image, level),
            lambda image, level, matrix: warp(image, matrix),
        ),
        image,
        level,
        matrix,
    )


def _grey_levels(image: Array) -> Array:
    return integers(jnp.clip(image, 0.0, 1.0))


def _quotient(numerator: Array, divisor: Array) -> Array:
    """floor(a / b) of integers a >= 0, b >= 0, below 2^23, with b = 0 taken as 1.

    Adding a half keeps the quotient away from integers, so that rounding in the float division (ten
    times faster than integer division) never crosses one.
    """
    above = numerator.astype(jnp.float32) + 0.5
    return (above / jnp.maximum(divisor, 1).astype(jnp.float32)).astype(jnp.int32)


def _pixels(level: Array) -> Array:
    return level.astype(jnp.float32) / LEVELS
