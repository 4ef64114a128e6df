"""The training augmentation, on the device: random crop of the padded image, and random flip."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from varmixup_jax import checks
from varmixup_jax.types import Array, Key


def crop_and_flip(key: Key, image: Array, *, pad: int, flip: bool) -> Array:
    """Takes a random crop of each reflection-padded image, and flips half of them horizontally.

    Each example draws its own corner, `top, left ~ U{0, ..., 2 pad}`, and, if `flip`, a fair coin;
    see `crop_at` for what is then computed. Pixels are only moved, so their range is kept.

    Args:
      key: a typed key.
      image: `[B, H, W, C]` of any dtype.
      pad: pixels of padding on each side, 0 <= pad < min(H, W); 0 does not crop.
      flip: whether to flip horizontally with probability 1/2.

    Returns:
      `[B, H, W, C]`, the dtype of `image`. With `pad=0` and `flip=False`, `image` itself.

    Raises:
      ValueError: if `image` does not have four axes, or `pad` is out of range.

    References:
      He et al. 2016, Deep Residual Learning, section 4.2 (pads with zeros; reflection keeps the
      statistics of natural images at the border).
    """
    _check(image, pad)
    if pad == 0 and not flip:
        return image
    batch = image.shape[0]
    top_key, left_key, flip_key = jax.random.split(key, 3)
    top = jax.random.randint(top_key, (batch,), 0, 2 * pad + 1)
    left = jax.random.randint(left_key, (batch,), 0, 2 * pad + 1)
    mirrored = jax.random.bernoulli(flip_key, 0.5, (batch,)) if flip else jnp.zeros(batch, bool)
    return crop_at(image, top, left, mirrored, pad=pad)


def crop_at(image: Array, top: Array, left: Array, mirrored: Array, *, pad: int) -> Array:
    """Crops each reflection-padded image at a given corner; flips it horizontally where asked.

    `out[b, i, j] = image[b, r(i + top_b - pad, H), r(j' + left_b - pad, W)]` with
    `j' = W - 1 - j` where `mirrored_b`, else `j`, and the reflection without repeated border
    `r(i, n) = (n - 1) - |(n - 1) - |i||`. Padding and flip are part of the index: one gather moves
    the pixels, and no padded image is made.

    Args:
      image: `[B, H, W, C]` of any dtype.
      top: int32 `[B]` in 0..2 pad: first row of the crop in the padded image.
      left: int32 `[B]` in 0..2 pad: its first column.
      mirrored: bool `[B]`: whether the crop is flipped horizontally.
      pad: pixels of padding on each side, 0 <= pad < min(H, W).

    Returns:
      `[B, H, W, C]`, the dtype of `image`.

    Raises:
      ValueError: if `image` does not have four axes, or `pad` is out of range.

    Example:
      >>> image = jnp.arange(3.0).reshape(1, 1, 3, 1) + jnp.zeros((1, 3, 3, 1))
      >>> one = jnp.array([1])
      >>> crop_at(image, one, one + 1, one == 0, pad=1)[0, 0, :, 0].tolist()
      [1.0, 2.0, 1.0]
    """
    _check(image, pad)
    batch, height, width, _ = image.shape
    column = jnp.arange(width)[None, :]
    column = jnp.where(mirrored[:, None], width - 1 - column, column)
    rows = _reflect(jnp.arange(height)[None, :] + top[:, None] - pad, height)
    columns = _reflect(column + left[:, None] - pad, width)
    example = jnp.arange(batch)[:, None, None]
    gather = image.at[example, rows[:, :, None], columns[:, None, :]]
    return gather.get(mode="promise_in_bounds")


def _reflect(index: Array, length: int) -> Array:
    last = length - 1
    return last - jnp.abs(last - jnp.abs(index))


def _check(image: Array, pad: int) -> None:
    if image.ndim != 4:
        raise ValueError(f"image: has shape {image.shape}, must be [B, H, W, C]")
    checks.whole(0, pad=pad)
    if pad >= min(image.shape[1:3]):
        raise ValueError(
            f"pad = {pad}: must be below the image's height and width, {image.shape[1:3]}: a "
            "reflection has no more pixels"
        )
