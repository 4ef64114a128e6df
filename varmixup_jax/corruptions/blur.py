"""Blurs with fixed kernels: gaussian_blur, defocus_blur, zoom_blur, and glass_blur.

References: Hendrycks and Dietterich 2019, section 4.1 and the published generators.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.corruptions import grid, linear
from varmixup_jax.corruptions.severity_tables import Table, column
from varmixup_jax.types import Array, Key

ZOOM_STEP = 0.01
"""Distance between the zoom factors of `zoom_blur`."""

COARSE = 4096.0
"""Grid of the larger part of a tap of `defocus_blur`: 255 x 4096 fits in float32's 24 bits."""

REST_SLACK = 5e-6
"""In grey levels: more than rounding of the taps shifts a flat area, less than the alias does."""


def gaussian_blur(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Gaussian blur, kernel cut at 4 sigma, edge pixels repeated.

    Args:
      key: unused, the blur is deterministic.
      images: float32 `[B, S, S, C]` in [0, 1].
      severity: int32 scalar, 1 to 5.
      table: columns (sigma,) in pixels.

    Returns:
      float32 `[B, S, S, C]`.
    """
    del key
    matrix = _gaussian(images.shape[1], column(table, "gaussian_blur", 0), severity)
    return grid.pixels(linear.both(matrix, grid.planar(images)), images.shape[-1])


def defocus_blur(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Correlation with a disk that is itself blurred a little; borders mirrored about the edge pixel.

    A disk of five equal taps gives whole grey levels except for the effect of the alias, 1e-6 of a
    level, whose sign decides the result of truncation. So the taps are split into a part on a grid of
    2^-12, whose sum float32 holds exactly, and a small rest.

    Args: as `gaussian_blur`, images on the 8-bit grid; columns (radius, alias sigma) in pixels.

    Returns:
      float32 `[B, S, S, C]`, truncated to the 8-bit grid.
    """
    del key
    radius, alias = (column(table, "defocus_blur", i) for i in range(2))
    half = math.floor(radius.max()) + 1
    kernels = np.stack([disk(r, s, half) for r, s in zip(radius, alias, strict=True)])
    coarse = np.round(kernels * COARSE) / COARSE
    major = grid.pick(coarse.astype(np.float32), severity)
    minor = grid.pick((kernels - coarse).astype(np.float32), severity)
    size = images.shape[1]
    levels = jnp.round(images * grid.LEVELS)
    padded = jnp.pad(levels, ((0, 0), (half, half), (half, half), (0, 0)), mode="reflect")
    exact = rest = jnp.zeros_like(images)
    for dy in range(2 * half + 1):
        for dx in range(2 * half + 1):
            window = padded[:, dy : dy + size, dx : dx + size]
            exact = exact + major[dy, dx] * window
            rest = rest + minor[dy, dx] * window
    whole = jnp.floor(exact)
    return (whole + jnp.floor((exact - whole) + (rest + REST_SLACK))) / grid.LEVELS


def disk(radius: float, alias: float, half: int) -> np.ndarray:
    """A normalised disk blurred by the 3 x 3 Gaussian of `alias`, float64 `[2 half + 1] * 2`."""
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    flat = (x**2 + y**2 <= radius**2).astype(np.float64)
    flat /= flat.sum()
    side = np.exp(-0.5 / alias**2)
    taps = np.array([side, 1.0, side]) / (1.0 + 2.0 * side)
    for axis in range(2):
        flat = sum(
            t * np.roll(flat, shift, axis) for t, shift in zip(taps, (-1, 0, 1), strict=True)
        )
    return flat


def zoom_blur(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Mean of the image and of its centre-crop zooms by 1, 1.01, 1.02, ...; see `centre_zoom`.

    out = (x + sum_f zoom_f(x)) / (n + 1) over n factors f, the first of which is 1.

    Args and Returns as `gaussian_blur`; columns (n,): the number of factors.
    """
    del key
    counts = column(table, "zoom_blur", 0).astype(np.int32)
    size = images.shape[1]
    # By arange, for its rounding: 1.25 comes out slightly larger, which decides a tie in `centre_zoom`.
    factors = np.arange(1.0, 1.0 + ZOOM_STEP * (counts.max() - 0.5), ZOOM_STEP)
    matrices = jnp.asarray(np.stack([linear.centre_zoom(size, f) for f in factors]))
    planes = grid.planar(images)
    count = grid.pick(counts, severity)

    def add(index: Array, total: Array) -> Array:
        return total + linear.both(matrices[index], planes)

    total = jax.lax.fori_loop(1, count, add, 2.0 * planes)  # the zoom by 1 is the image
    return grid.pixels(total / (count + 1).astype(jnp.float32), images.shape[-1])


def glass_blur(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Blur, local shuffle, blur.

    The original visits the pixels from the bottom right to the top left and is meant to swap each
    with a neighbour at an offset drawn uniformly from [-m, m) per axis. Its arrays alias, so it
    *copies* the neighbour's value and leaves the neighbour unchanged; a neighbour visited earlier
    passes on what it received. Here all pixels look up their source at once: if the source was
    visited earlier, the look-up is repeated from there, by pointer doubling. This gives exactly the
    sequential result for the same offsets. With m = 1 no source was visited earlier.

    Args:
      key: typed key, for the offsets.
      images: float32 `[B, S, S, C]` on the 8-bit grid.
      severity: int32 scalar, 1 to 5.
      table: columns (sigma in pixels, m in pixels, number of shuffles).

    Returns:
      float32 `[B, S, S, C]`.
    """
    batch, size, _, channels = images.shape
    matrix = _gaussian(size, column(table, "glass_blur", 0), severity)
    reach = grid.pick(column(table, "glass_blur", 1).astype(np.int32), severity)
    shuffles = grid.pick(column(table, "glass_blur", 2).astype(np.int32), severity)
    blurred = grid.truncate(linear.both(matrix, grid.planar(images)))

    def shuffle(index: Array, source: Array) -> Array:
        span = (2 * reach).astype(jnp.float32)
        draw = jax.random.uniform(jax.random.fold_in(key, index), (2, batch, size, size))
        offset = jnp.minimum(jnp.floor(draw * span).astype(jnp.int32), 2 * reach - 1) - reach
        step = shuffle_sources(offset[0], offset[1], reach)
        return jnp.take_along_axis(source, step, axis=1)

    start = jnp.broadcast_to(jnp.arange(size * size)[None], (batch, size * size))
    source = jax.lax.fori_loop(0, shuffles, shuffle, start)
    flat = grid.pixels(blurred, channels).reshape(batch, size * size, channels)
    shuffled = jnp.take_along_axis(flat, source[..., None], axis=1).reshape(images.shape)
    return grid.pixels(linear.both(matrix, grid.planar(shuffled)), channels)


def shuffle_sources(down: Array, right: Array, reach: Array) -> Array:
    """Where each pixel's value comes from after one sequential pass of copies.

    Args:
      down: int32 `[B, S, S]`, offset of the neighbour's row, in [-reach, reach).
      right: int32 `[B, S, S]`, offset of its column.
      reach: int32 scalar m; pixels with a coordinate below m + 1 or above S - m are not visited.

    Returns:
      int32 `[B, S * S]`: flat index of the pixel of the input whose value ends up here.
    """
    batch, size, _ = down.shape
    row, col = jnp.meshgrid(jnp.arange(size), jnp.arange(size), indexing="ij")
    visited = (row > reach) & (row <= size - reach) & (col > reach) & (col <= size - reach)
    here = row * size + col
    there = jnp.where(visited[None], here[None] + down * size + right, here[None])
    here, there = here.reshape(1, -1), there.reshape(batch, -1)
    # A source after this pixel in reading order was visited before it.
    waits = visited.reshape(-1)[there] & (there > here)

    def double(state: tuple[Array, Array]) -> tuple[Array, Array]:
        source, open_ = state
        onward = jnp.take_along_axis(source, source, axis=1)
        still = jnp.take_along_axis(open_, source, axis=1)
        return jnp.where(open_, onward, source), open_ & still

    source, _ = jax.lax.while_loop(lambda state: jnp.any(state[1]), double, (there, waits))
    return source


def _gaussian(size: int, sigma: np.ndarray, severity: Array) -> Array:
    return grid.pick(np.stack([linear.gaussian(size, s) for s in sigma]), severity)
