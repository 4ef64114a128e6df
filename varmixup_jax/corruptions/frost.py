"""Frost: a x + b texture, with a texture that is synthesised or cropped from photographs.

The original draws one of five photographs of frozen windows and takes a crop of it. So does this if
the photographs are available (`photographs.py`); otherwise the texture is synthesised with their
measured statistics (`ice.py`).

Reference: Hendrycks and Dietterich 2019, section 4.1 and the published generators.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.corruptions import grid, ice
from varmixup_jax.corruptions.photographs import FrostTextures
from varmixup_jax.corruptions.severity_tables import Table, column
from varmixup_jax.types import Array, Key


def frost(
    key: Key,
    images: Array,
    severity: Array,
    table: Table,
    textures: FrostTextures | None = None,
) -> Array:
    """Adds a frozen window: a x + b t, with a texture t drawn per image.

    Args:
      key: typed key.
      images: float32 `[B, S, S, C]` in [0, 1].
      severity: int32 scalar, 1 to 5.
      table: columns (a, b).
      textures: from `load_textures`; None synthesises the texture. One channel gets its luma.

    Returns:
      float32 `[B, S, S, C]`.
    """
    scale, weight = (
        grid.pick(column(table, "frost", i).astype(np.float32), severity) for i in range(2)
    )
    if textures is None:
        texture = ice.synthesise(key, images.shape[0], images.shape[1])
    else:
        texture = crop(key, textures, images.shape[0], images.shape[1])
    texture = texture if images.shape[-1] == 3 else grid.luma(texture)
    return scale * images + weight * texture


def crop(key: Key, textures: FrostTextures, count: int, size: int) -> Array:
    """Random crops `[B, S, S, 3]` of photographs chosen at random."""
    kind_key, place_key = jax.random.split(key)
    kind = jax.random.randint(kind_key, (count,), 0, textures.images.shape[0])
    room = jnp.maximum(textures.sizes[kind] - size, 1)
    draw = jax.random.uniform(place_key, (count, 2))
    corner = jnp.floor(draw * room.astype(jnp.float32)).astype(jnp.int32)

    def cut(index: Array, place: Array) -> Array:
        start = (index, place[0], place[1], 0)
        return jax.lax.dynamic_slice(textures.images, start, (1, size, size, 3))[0]

    return jax.vmap(cut)(kind, corner)
