"""One-sided motion blur along a random direction, for motion_blur and the streaks of snow.

References: Hendrycks and Dietterich 2019, section 4.1 and the published generators, which call
ImageMagick's motion blur.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.corruptions import grid
from varmixup_jax.corruptions.severity_tables import Table, column
from varmixup_jax.types import Array, Key

ANGLES = (-45.0, 45.0)
"""Range of `motion_blur`'s direction, in degrees from horizontal."""

NEGLIGIBLE_WEIGHT = 1e-7
"""Taps whose weight relative to the first is below this are left out."""


def motion_blur(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Motion blur along one random angle per image, uniform in (-45, 45) degrees.

    Args:
      key: typed key, for the angles.
      images: float32 `[B, S, S, C]` in [0, 1].
      severity: int32 scalar, 1 to 5.
      table: columns (radius in pixels, sigma in pixels); see `streak`.

    Returns:
      float32 `[B, S, S, C]` on the 8-bit grid.
    """
    degrees = jax.random.uniform(key, images.shape[:1], minval=ANGLES[0], maxval=ANGLES[1])
    radius, sigma = (column(table, "motion_blur", i) for i in range(2))
    return streak(images, degrees, radius, sigma, severity)


def streak(
    images: Array, degrees: Array, radius: np.ndarray, sigma: np.ndarray, severity: Array
) -> Array:
    """ImageMagick's motion blur: sum_k w_k x[row + [k sin a], column + [k cos a]].

    w_k is proportional to exp(-k^2 / (2 sigma^2)), k = 0 .. 2 radius, and sums to 1; [.] rounds
    halves down; edge pixels are repeated.

    Args:
      images: float32 `[B, S, S, C]` in [0, 1].
      degrees: float32 `[B]`, direction a of each image.
      radius: `[5]`, per severity, in pixels.
      sigma: `[5]`, per severity, in pixels.
      severity: int32 scalar, 1 to 5.

    Returns:
      float32 `[B, S, S, C]`, truncated to the 8-bit grid.
    """
    weights, counts = taps(radius, sigma)
    weight, count = grid.pick(weights, severity), grid.pick(counts, severity)
    angle = jnp.deg2rad(degrees)
    margin = weights.shape[1] - 1
    size, channels = images.shape[1], images.shape[3]
    edges = ((0, 0), (margin, margin), (margin, margin), (0, 0))
    padded = jnp.pad(images, edges, mode="edge")

    def window(image: Array, row: Array, col: Array) -> Array:
        return jax.lax.dynamic_slice(image, (row, col, 0), (size, size, channels))

    def add(tap: Array, total: Array) -> Array:
        reach = tap.astype(jnp.float32)
        row = margin + _round_half_down(reach * jnp.sin(angle))
        col = margin + _round_half_down(reach * jnp.cos(angle))
        return total + weight[tap] * jax.vmap(window)(padded, row, col)

    return grid.truncate(jax.lax.fori_loop(0, count, add, jnp.zeros_like(images)))


def taps(radius: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights of the taps and how many of them matter, per severity.

    Args:
      radius: `[5]` in pixels; the kernel has 2 radius + 1 taps.
      sigma: `[5]` in pixels.

    Returns:
      float32 `[5, K]`, each row sums to 1 and is zero after its last tap; int32 `[5]`.
    """
    reach = np.sqrt(-2.0 * math.log(NEGLIGIBLE_WEIGHT)) * sigma
    counts = np.minimum(2 * np.ceil(radius), np.floor(reach)).astype(np.int32) + 1
    tap = np.arange(counts.max())[None]
    weights = np.exp(-0.5 * (tap / sigma[:, None]) ** 2) * (tap < counts[:, None])
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), counts


def _round_half_down(value: Array) -> Array:
    return jnp.ceil(value - 0.5).astype(jnp.int32)
