"""Blurs, zooms and box resizes along one side as matrices, made with NumPy from static sizes.

A separable linear filter with any border rule is x -> A x A^T with a `[size, size]` matrix A per
severity. The matrices of the five severities are stacked and one is picked at run time, so that a
single compiled program serves all severities although their kernels differ in length.
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.types import Array

PAD_MODE: dict[str, Literal["edge", "symmetric", "reflect"]] = {
    "nearest": "edge",
    "reflect": "symmetric",
    "mirror": "reflect",
}
"""scipy.ndimage's names of border rules -> numpy.pad's."""


def gaussian(size: int, sigma: float, truncate: float = 4.0, border: str = "nearest") -> np.ndarray:
    """The Gaussian filter of scipy.ndimage along one side.

    Args:
      size: pixels along the side.
      sigma: standard deviation in pixels; 0 gives the identity.
      truncate: the kernel ends at `int(truncate * sigma + 0.5)` pixels from its centre.
      border: `nearest` (edge repeated) or `reflect` (mirrored including the edge pixel).

    Returns:
      float32 `[size, size]`, rows sum to 1.
    """
    reach = int(truncate * sigma + 0.5)
    taps = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (taps / sigma) ** 2) if reach else np.ones(1)
    source = np.pad(np.arange(size), reach, mode=PAD_MODE[border])
    return _scatter(size, source, weights / weights.sum())


def box(size: int, width: int, border: str = "mirror") -> np.ndarray:
    """The moving average of odd width along one side, float32 `[size, size]`."""
    reach = width // 2
    source = np.pad(np.arange(size), reach, mode=PAD_MODE[border])
    return _scatter(size, source, np.full(width, 1.0 / width))


def centre_zoom(size: int, factor: float) -> np.ndarray:
    """Order-1 spline zoom of the centre crop, trimmed to the original size.

    The crop has c = ceil(size / factor) pixels; it is stretched to n = round(c factor) points with
    aligned end points, so output i reads at i (c - 1) / (n - 1); the n points are trimmed to `size`
    around the centre.

    Args:
      size: pixels along the side.
      factor: >= 1.

    Returns:
      float32 `[size, size]`, rows sum to 1.
    """
    crop = math.ceil(size / factor)
    top = (size - crop) // 2
    stretched = round(crop * factor)
    trim = (stretched - size) // 2
    at = (np.arange(size) + trim) * ((crop - 1) / (stretched - 1))
    low = np.clip(np.floor(at).astype(int), 0, crop - 2)
    matrix = np.zeros((size, size))
    rows = np.arange(size)
    matrix[rows, top + low] = 1.0 - (at - low)
    matrix[rows, top + low + 1] += at - low
    return matrix.astype(np.float32)


def box_resize(size_in: int, size_out: int, padded: int) -> np.ndarray:
    """Pillow's BOX resampling of a side, in a zero matrix of `padded` x `padded`.

    Output i averages the input pixels whose centres lie within half a (stretched) pixel of
    (i + 1/2) size_in / size_out.

    Args:
      size_in: pixels read, at most `padded`.
      size_out: pixels written, at most `padded`.
      padded: rows and columns of the result; those past `size_out`, `size_in` are zero.

    Returns:
      float32 `[padded, padded]`.
    """
    scale = size_in / size_out
    stretch = max(scale, 1.0)
    matrix = np.zeros((padded, padded))
    for row in range(size_out):
        centre = (row + 0.5) * scale
        low = max(int(centre - 0.5 * stretch + 0.5), 0)
        high = min(int(centre + 0.5 * stretch + 0.5), size_in)
        offset = (np.arange(low, high) - centre + 0.5) / stretch
        inside = (offset > -0.5) & (offset <= 0.5)
        matrix[row, low:high] = inside / inside.sum()
    return matrix.astype(np.float32)


def rows(matrix: Array, planes: Array) -> Array:
    """Applies `[out, H]` along the rows of `[H, N, W]`."""
    return jnp.einsum("ih,hnw->inw", matrix, planes, precision=jax.lax.Precision.HIGHEST)


def columns(matrix: Array, planes: Array) -> Array:
    """Applies `[out, W]` along the columns of `[H, N, W]`."""
    return jnp.einsum("hnw,jw->hnj", planes, matrix, precision=jax.lax.Precision.HIGHEST)


def both(matrix: Array, planes: Array) -> Array:
    """Applies a matrix along rows and columns: A x A^T for every plane of `[H, N, W]`."""
    return rows(matrix, columns(matrix, planes))


def _scatter(size: int, source: np.ndarray, weights: np.ndarray) -> np.ndarray:
    matrix = np.zeros((size, size))
    for tap, weight in enumerate(weights):
        np.add.at(matrix, (np.arange(size), source[tap : tap + size]), weight)
    return matrix.astype(np.float32)
