"""Canny edges and the distance from them, batched and without loops other than fixed points.

References: Canny 1986; Borgefors 1986, "Distance transformations in digital images" (the 5 x 5
chamfer weights that OpenCV uses).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from varmixup_jax.types import Array

LOW, HIGH = 50.0, 150.0
"""Hysteresis thresholds of the gradient's L1 norm."""

TANGENT = math.tan(math.pi / 8.0)

CHAMFER = {(0, 1): 1.0, (1, 1): 1.4, (1, 2): 2.1969}
"""Length of a step by (rows, columns), up to symmetry."""


def canny(levels: Array) -> Array:
    """Edges of an 8-bit image: Sobel gradient, thinning across the edge, hysteresis.

    Args:
      levels: float32 `[B, S, S]`, whole numbers in 0 .. 255.

    Returns:
      bool `[B, S, S]`: local maxima of the gradient above `LOW` that are 8-connected through such
      pixels to one above `HIGH`.
    """
    padded = jnp.pad(levels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = padded[:, :-2] + 2.0 * padded[:, 1:-1] + padded[:, 2:]
    along = padded[:, :, :-2] + 2.0 * padded[:, :, 1:-1] + padded[:, :, 2:]
    dx = across[:, :, 2:] - across[:, :, :-2]
    dy = along[:, 2:] - along[:, :-2]
    norm = jnp.abs(dx) + jnp.abs(dy)
    flat = jnp.abs(dy) < TANGENT * jnp.abs(dx)
    steep = jnp.abs(dy) > jnp.abs(dx) / TANGENT
    same_sign = (dx < 0.0) == (dy < 0.0)
    left, right = _shift(norm, 0, -1), _shift(norm, 0, 1)
    up, down = _shift(norm, -1, 0), _shift(norm, 1, 0)
    falling = jnp.maximum(_shift(norm, -1, -1), _shift(norm, 1, 1))
    rising = jnp.maximum(_shift(norm, -1, 1), _shift(norm, 1, -1))
    peak = jnp.where(
        flat,
        (norm > left) & (norm >= right),
        jnp.where(
            steep,
            (norm > up) & (norm >= down),
            norm > jnp.where(same_sign, falling, rising),
        ),
    )
    weak = peak & (norm > LOW)

    def spread(state: tuple[Array, Array]) -> tuple[Array, Array]:
        edge, _ = state
        wide = edge | _shift(edge, -1, 0) | _shift(edge, 1, 0)
        wide = (wide | _shift(wide, 0, -1) | _shift(wide, 0, 1)) & weak
        return wide, jnp.any(wide != edge)

    strong = weak & (norm > HIGH)
    edge, _ = jax.lax.while_loop(lambda state: state[1], spread, (strong, jnp.any(strong)))
    return edge


def chamfer(edge: Array, farthest: float) -> Array:
    """Distance from the nearest edge pixel in steps of the 5 x 5 chamfer mask, cut at `farthest`.

    Args:
      edge: bool `[B, S, S]`.
      farthest: in pixels; the distance of an image without edges.

    Returns:
      float32 `[B, S, S]`.
    """
    steps = []
    for (a, b), length in CHAMFER.items():
        moves = {(s * p, t * q) for p, q in ((a, b), (b, a)) for s in (-1, 1) for t in (-1, 1)}
        steps += [(dy, dx, length) for dy, dx in sorted(moves)]

    def relax(state: tuple[Array, Array]) -> tuple[Array, Array]:
        distance, _ = state
        padded = jnp.pad(
            distance, ((0, 0), (2, 2), (2, 2)), mode="constant", constant_values=farthest
        )
        height, width = distance.shape[1:]
        nearer = distance
        for dy, dx, length in steps:
            window = padded[:, 2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width]
            nearer = jnp.minimum(nearer, window + length)
        return nearer, jnp.any(nearer < distance)

    start = jnp.where(edge, 0.0, jnp.float32(farthest))
    distance, _ = jax.lax.while_loop(lambda state: state[1], relax, (start, jnp.any(edge)))
    return distance


def _shift(field: Array, dy: int, dx: int) -> Array:
    """The value at (row + dy, column + dx), zero outside; |dy|, |dx| <= 1."""
    height, width = field.shape[1:]
    padded = jnp.pad(field, ((0, 0), (1, 1), (1, 1)))
    return padded[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
