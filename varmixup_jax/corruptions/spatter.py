"""Spatter: drops of water (severities 1 to 3) or mud (4 and 5) on the lens.

References: Hendrycks and Dietterich 2019, appendix B and the published generators, which call
OpenCV; Canny 1986; Borgefors 1986 (the 5 x 5 chamfer distance).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.corruptions import edges, grid, linear
from varmixup_jax.corruptions.severity_tables import Table, column
from varmixup_jax.types import Array, Key

WATER = (175.0, 238.0, 238.0)
MUD = (63.0, 42.0, 20.0)
MUD_FLOOR = 0.8
"""A mud mask below this is cut to 0."""

FARTHEST = 20.0
"""Distances from an edge are cut at this many pixels."""

MEAN_SLACK = 1e-4
"""Added before mean distances are truncated: more than float32's error, less than the 3e-4 by which
sums of chamfer lengths fall short of a whole number."""

EMBOSS = ((-2.0, -1.0, 0.0), (-1.0, 1.0, 1.0), (0.0, 1.0, 2.0))


def spatter(key: Key, images: Array, severity: Array, table: Table) -> Array:
    """Blurred normal noise above a threshold is liquid: water is added, mud covers.

    Args:
      key: typed key.
      images: float32 `[B, S, S, C]` in [0, 1].
      severity: int32 scalar, 1 to 5.
      table: columns (mean, standard deviation, sigma in pixels, threshold, strength, mud): the
        strength is the largest opacity of water, or the sigma of the mask of mud.

    Returns:
      float32 `[B, S, S, C]`. An image whose layer has no liquid is returned as it is, where the
      original divides by zero.
    """
    mean, deviation, threshold, strength, mud = (
        grid.pick(column(table, "spatter", i).astype(np.float32), severity) for i in (0, 1, 3, 4, 5)
    )
    sigma, spread = column(table, "spatter", 2), column(table, "spatter", 4)
    batch, size, _, channels = images.shape
    blur = grid.pick(np.stack([linear.gaussian(size, s) for s in sigma]), severity)
    noise = mean + deviation * jax.random.normal(key, (batch, size, size, 1))
    layer = grid.pixels(linear.both(blur, grid.planar(noise)), 1)
    smear = grid.pick(np.stack([linear.gaussian(size, s) for s in spread]), severity)

    def with_water(_: None) -> Array:
        sheen = water(jnp.where(layer < threshold, 0.0, layer))
        colour = jnp.asarray(grid.tint(WATER, channels)).reshape(1, 1, 1, -1)
        return images + strength * sheen * colour

    def with_mud(_: None) -> Array:
        covered = (layer > threshold).astype(jnp.float32)
        mask = grid.pixels(linear.both(smear, grid.planar(covered)), 1)
        mask = jnp.where(mask < MUD_FLOOR, 0.0, mask)
        colour = jnp.asarray(grid.tint(MUD, channels)).reshape(1, 1, 1, -1)
        return images * (1.0 - mask) + mask * colour

    return jax.lax.cond(mud > 0.5, with_mud, with_water, None)


def water(layer: Array) -> Array:
    """The sheen of drops: the layer times an embossed map of the distance from its edges.

    Args:
      layer: float32 `[B, S, S, 1]`, 0 where there is no water; read modulo 256 grey levels as the
        original's cast does.

    Returns:
      float32 `[B, S, S, 1]` in [0, 1], the largest value of each image is 1 (0 without water).
    """
    size = layer.shape[1]
    levels = jnp.floor(layer[..., 0] * grid.LEVELS + grid.SLACK) % (grid.LEVELS + 1)
    distance = edges.chamfer(edges.canny(levels), FARTHEST)
    mean = jnp.asarray(linear.box(size, 3))
    flat = _planes(jnp.floor(linear.both(mean, _planes(distance)) + MEAN_SLACK))
    bright = _equalise(flat)
    padded = jnp.pad(bright, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    raised = sum(
        EMBOSS[dy][dx] * padded[:, dy : dy + size, dx : dx + size]
        for dy in range(3)
        for dx in range(3)
    )
    raised = jnp.clip(raised, 0.0, grid.LEVELS)
    smooth = _planes(jnp.round(linear.both(mean, _planes(raised))))
    sheen = levels * smooth
    return (sheen / jnp.maximum(jnp.max(sheen, axis=(1, 2), keepdims=True), 1e-6))[..., None]


def _equalise(distance: Array) -> Array:
    """Histogram equalisation to 0 .. 255 of whole numbers in 0 .. `FARTHEST`, `[B, S, S]`."""
    values = jnp.arange(FARTHEST + 1.0)
    flat = distance.reshape(distance.shape[0], -1)
    upto = jnp.sum(flat[:, :, None] <= values[None, None], axis=1).astype(jnp.float32)
    lowest = jnp.min(flat, axis=1, keepdims=True).astype(jnp.int32)
    first = jnp.take_along_axis(upto, lowest, axis=1)
    rest = flat.shape[1] - first
    ranks = jnp.round(grid.LEVELS * (upto - first) / jnp.maximum(rest, 1.0))
    bright = jnp.take_along_axis(ranks, flat.astype(jnp.int32), axis=1)
    # OpenCV leaves an image of one value as it is.
    return jnp.where(rest > 0.0, bright, flat).reshape(distance.shape)


def _planes(layer: Array) -> Array:
    """`[B, S, S] <-> [S, B, S]`."""
    return layer.transpose(1, 0, 2)
