"""The effect of baseline JPEG on an image, without the file: entropy coding is lossless.

Colour transform, 4:2:0 chroma, 8 x 8 DCT, quantisation, and back with triangular ("fancy") chroma
interpolation, in the integer arithmetic of libjpeg: float arithmetic would round about one coefficient
in a hundred differently.

References: ITU-T T.81 (1992), Annex K.1 (tables) and A.3.3 (DCT); JFIF 1.02 (colours); Loeffler,
Ligtenberg and Moschytz 1989, "Practical fast 1-D DCT algorithms with 11 multiplications".
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from varmixup_jax.corruptions import linear
from varmixup_jax.types import Array

BLOCK = 8

# T.81, tables K.1 and K.2.
LUMINANCE = """
16 11 10 16 24 40 51 61      12 12 14 19 26 58 60 55     14 13 16 24 40 57 69 56
14 17 22 29 51 87 80 62      18 22 37 56 68 109 103 77   24 35 55 64 81 104 113 92
49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99
"""
CHROMINANCE = """
17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99
47 66 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99
99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99
"""

FIXED = 1 << 16
"""Colour weights are integers over this, as in libjpeg."""

BITS = 13
"""Fraction bits of the transform's constants."""

EXTRA_BITS = 2
"""Fraction bits kept between the two passes of the transform."""

SPLIT = 7
"""Constants are applied as high and low parts of this many bits: exact in float32."""


def quantisation(quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The quantisation steps of libjpeg's quality settings.

    Args:
      quality: `[Q]`, 1 to 100.

    Returns:
      Two float32 `[Q, 8, 8]`, of luma and of chroma, whole numbers in 1 to 255.

    >>> quantisation(np.array([50]))[0][0, 0, :3]
    array([16., 11., 10.], dtype=float32)
    """
    percent = np.where(quality < 50, np.floor(5000 / quality), 200 - 2 * quality)
    steps = []
    for text in (LUMINANCE, CHROMINANCE):
        base = np.array(text.split(), np.float64).reshape(1, BLOCK, BLOCK)
        scaled = np.floor((base * percent[:, None, None] + 50) / 100)
        steps.append(np.clip(scaled, 1, 255).astype(np.float32))
    return steps[0], steps[1]


def recompress(levels: Array, luminance: Array, chrominance: Array) -> Array:
    """Encodes and decodes.

    Args:
      levels: int32 `[B, H, W, C]`, 0 to 255, C = 1 (no chroma) or 3.
      luminance: float32 `[8, 8]`, steps of the luma.
      chrominance: float32 `[8, 8]`, steps of the chroma.

    Returns:
      int32 `[B, H, W, C]`, 0 to 255.
    """
    if levels.shape[-1] == 1:
        return _code(levels, luminance)
    red, green, blue = (levels[..., c : c + 1] for c in range(3))
    half, centre = FIXED // 2, 128 * FIXED
    luma = (19595 * red + 38470 * green + 7471 * blue + half) >> 16
    cb = (-11059 * red - 21709 * green + 32768 * blue + centre + half - 1) >> 16
    cr = (32768 * red - 27439 * green - 5329 * blue + centre + half - 1) >> 16
    luma = _code(luma, luminance)
    chroma = _code(_shrink(jnp.concatenate([cb, cr], axis=-1)), chrominance)
    chroma = _grow(chroma, levels.shape[1], levels.shape[2]) - 128
    cb, cr = chroma[..., :1], chroma[..., 1:]
    red = luma + ((91881 * cr + half) >> 16)
    green = luma + ((-22554 * cb - 46802 * cr + half) >> 16)
    blue = luma + ((116130 * cb + half) >> 16)
    return jnp.clip(jnp.concatenate([red, green, blue], axis=-1), 0, 255)


def _code(samples: Array, steps: Array) -> Array:
    """Block DCT, quantisation and back, `[B, H, W, N]` of any size; edges are repeated."""
    batch, height, width, count = samples.shape
    padded = _extend(samples, -height % BLOCK, -width % BLOCK)
    tall, wide = padded.shape[1:3]
    planes = padded.transpose(1, 0, 3, 2).reshape(tall, batch * count, wide) - 128
    dct = transform()
    frequency = _columns(dct, planes, BITS - EXTRA_BITS)
    frequency = _rows(dct, frequency, BITS + EXTRA_BITS)
    step = jnp.tile(steps, (tall // BLOCK, wide // BLOCK))[:, None].astype(jnp.int32)
    # The transform is scaled by 8; halves are rounded away from zero.
    kept = jnp.sign(frequency) * ((jnp.abs(frequency) + 4 * step) // (8 * step)) * step
    restored = _rows(dct.T, kept, BITS - EXTRA_BITS)
    restored = _columns(dct.T, restored, BITS + EXTRA_BITS + 3)
    restored = jnp.clip(restored + 128, 0, 255)
    split = restored.reshape(tall, batch, count, wide).transpose(1, 0, 3, 2)
    return split[:, :height, :width]


def transform() -> np.ndarray:
    """The 8-point DCT-II times sqrt(8), as factored by Loeffler, Ligtenberg and Moschytz.

    The constants of the factorisation are rounded to `BITS` bits, so that the matrix, like libjpeg's
    code, is not quite round(2^BITS times the cosines). Its transpose is the inverse, times 8.

    Returns:
      int64 `[8, 8]`, rows are frequencies.
    """

    def fixed(value: float) -> int:
        return round(value * (1 << BITS))

    cosine, root = np.cos(np.arange(8) * np.pi / 16), np.sqrt(2.0)
    sample = np.eye(8, dtype=np.int64)
    plus, d = sample[:4] + sample[:3:-1], sample[:4] - sample[:3:-1]
    outer, inner = plus[0] - plus[3], plus[1] - plus[2]
    turn = fixed(root * cosine[6]) * (inner + outer)
    all_four = fixed(root * cosine[3]) * d.sum(axis=0)
    ends = -fixed(root * (cosine[3] - cosine[7])) * (d[0] + d[3])
    middle = -fixed(root * (cosine[1] + cosine[3])) * (d[1] + d[2])
    odd = all_four - fixed(root * (cosine[3] + cosine[5])) * (d[1] + d[3])
    even = all_four - fixed(root * (cosine[3] - cosine[5])) * (d[0] + d[2])
    weight = [
        fixed(root * (cosine[1] + cosine[3] - cosine[5] - cosine[7])),
        fixed(root * (cosine[1] + cosine[3] + cosine[5] - cosine[7])),
        fixed(root * (cosine[1] + cosine[3] - cosine[5] + cosine[7])),
        fixed(root * (-cosine[1] + cosine[3] + cosine[5] - cosine[7])),
    ]
    one = 1 << BITS
    return np.stack(
        [
            one * plus.sum(axis=0),
            weight[0] * d[0] + ends + even,
            turn + fixed(root * (cosine[2] - cosine[6])) * outer,
            weight[1] * d[1] + middle + odd,
            one * (plus[0] + plus[3] - plus[1] - plus[2]),
            weight[2] * d[2] + middle + even,
            turn - fixed(root * (cosine[2] + cosine[6])) * inner,
            weight[3] * d[3] + ends + odd,
        ]
    )


def _rows(matrix: np.ndarray, planes: Array, shift: int) -> Array:
    return _exact(linear.rows, matrix, planes, planes.shape[0], shift)


def _columns(matrix: np.ndarray, planes: Array, shift: int) -> Array:
    return _exact(linear.columns, matrix, planes, planes.shape[2], shift)


def _exact(
    product: Callable[[Array, Array], Array],
    matrix: np.ndarray,
    planes: Array,
    size: int,
    shift: int,
) -> Array:
    """An integer matrix on each run of eight, then division by 2^shift, rounding halves up.

    |samples| < 2^14 and 7-bit parts keep every partial sum below 2^24.
    """
    blocks = np.kron(np.eye(size // BLOCK, dtype=np.int64), matrix)
    low, high = blocks % (1 << SPLIT), blocks >> SPLIT
    values = planes.astype(jnp.float32)
    low_sum, high_sum = (
        product(jnp.asarray(part.astype(np.float32)), values).astype(jnp.int32)
        for part in (low, high)
    )
    return ((high_sum << SPLIT) + low_sum + (1 << (shift - 1))) >> shift


def _shrink(samples: Array) -> Array:
    """Means of 2 x 2, rounded with the alternating bias 1, 2; padded to whole blocks as in libjpeg."""
    _, height, width, _ = samples.shape
    # Columns are repeated before averaging up to whole blocks, rows only up to a pair.
    samples = _extend(samples, height % 2, -width % (2 * BLOCK))
    rows = samples[:, 0::2] + samples[:, 1::2]
    total = rows[:, :, 0::2] + rows[:, :, 1::2]
    bias = 1 + jnp.arange(total.shape[2], dtype=jnp.int32) % 2
    return (total + bias.reshape(1, 1, -1, 1)) >> 2


def _grow(samples: Array, height: int, width: int) -> Array:
    """Triangular interpolation to twice the size: weights 3/4 and 1/4 along each axis."""
    samples = samples[:, : (height + 1) // 2, : (width + 1) // 2]
    batch, rows, cols, count = samples.shape
    padded = jnp.pad(samples, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="edge")
    pair = [3 * samples + padded[:, :-2], 3 * samples + padded[:, 2:]]
    tall = jnp.stack(pair, axis=2).reshape(batch, 2 * rows, cols, count)
    padded = jnp.pad(tall, ((0, 0), (0, 0), (1, 1), (0, 0)), mode="edge")
    pair = [(3 * tall + padded[:, :, :-2] + 8) >> 4, (3 * tall + padded[:, :, 2:] + 7) >> 4]
    wide = jnp.stack(pair, axis=3).reshape(batch, 2 * rows, 2 * cols, count)
    return wide[:, :height, :width]


def _extend(samples: Array, down: int, right: int) -> Array:
    return jnp.pad(samples, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge")
