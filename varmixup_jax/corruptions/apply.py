"""The corruptions by name, and the one function that applies them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp

from varmixup_jax import checks
from varmixup_jax.corruptions import (
    blur,
    colour,
    digital,
    elastic,
    frost,
    grid,
    motion,
    noise,
    weather,
)
from varmixup_jax.corruptions import spatter as spatter_file
from varmixup_jax.corruptions.photographs import SYNTHETIC, FrostTextures
from varmixup_jax.corruptions.severity_tables import SEVERITIES, TABLES, Table
from varmixup_jax.types import Array, Key

Corruption = Callable[[Key, Array, Array, Table], Array]

SMALLEST = 8
"""Minimum number of pixels per side."""

FUNCTIONS: dict[str, Corruption] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": motion.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": frost.frost,
    "fog": weather.fog,
    "brightness": colour.brightness,
    "contrast": colour.contrast,
    "elastic_transform": elastic.elastic_transform,
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": spatter_file.spatter,
    "saturate": colour.saturate,
}

EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The four that are not part of the mean corruption accuracy."""

NAMES = tuple(name for name in FUNCTIONS if name not in EXTRA)
"""The fifteen of the mean corruption accuracy, in the order of the paper."""

DETERMINISTIC = (
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
    "gaussian_blur",
    "saturate",
)
"""Those that ignore the key and match the original recipe pixel by pixel."""


def corrupt(
    key: Key,
    name: str,
    images: Array,
    severity: int | Array,
    table: str = "cifar",
    frost_textures: FrostTextures | None = None,
) -> Array:
    """Corrupts a batch of images as CIFAR-10-C, CIFAR-100-C or Tiny-ImageNet-C do.

    The images are rounded to multiples of 1/255, as in an 8-bit file, corrupted with one draw per
    image, clipped and truncated to multiples of 1/255 like the published files. Pure: may be called
    inside jit, vmap and scan. Compiled once per name, table and shape; the severity is traced.

    Args:
      key: typed key, `jax.random.key(...)`; one key gives the whole batch, independent per image.
      name: one of `NAMES` or `EXTRA`.
      images: float32 `[B, S, S, C]` in [0, 1], S >= 8, C = 1 or 3.
      severity: 1 to 5, a Python integer or an int32 scalar, which may be traced (a traced value out
        of range is clamped).
      table: `cifar` (made for 32 pixels) or `tiny_imagenet` (64).
      frost_textures: from `load_textures`, for `frost` with the original photographs; None
        synthesises them. Other corruptions ignore it.

    Returns:
      float32 `[B, S, S, C]`, multiples of 1/255 in [0, 1].

    Raises:
      ValueError: unknown name or table, severity out of range, images of another shape, or outside
        [0, 1] where their values are known (not traced).
      TypeError: integer images.

    >>> images = jnp.full((1, 8, 8, 3), 0.5)
    >>> levels = corrupt(jax.random.key(0), "contrast", images, severity=3) * 255
    >>> int(levels.max())
    128

    References: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
    Corruptions and Perturbations", ICLR 2019.
    """
    checks.one_of(FUNCTIONS, name=name)
    checks.one_of(TABLES, table=table)
    checks.pixels(images=images)
    _, height, width, channels = images.shape
    if height != width or height < SMALLEST or channels not in (1, 3):
        raise ValueError(
            f"images: has shape {tuple(images.shape)}, must be [B, S, S, C] with S >= {SMALLEST} "
            "and C = 1 or 3"
        )
    textures = frost_textures if name == "frost" else None
    if textures is not None and min(textures.images.shape[1:3]) <= height:
        raise ValueError(
            f"frost_textures: has shape {tuple(textures.images.shape)}, must be larger than the "
            f"images' {height} pixels per side"
        )
    # As float32, not weakly typed: one program wherever the array comes from.
    pixels = jnp.asarray(images).astype(jnp.float32)
    return _apply(key, name, table, pixels, _severity(severity), textures)


def frost_source(frost_textures: FrostTextures | None) -> str:
    """What a result row says about where its frost came from.

    Rows that say `procedural` are from older versions, with a Gaussian texture that costs a classifier
    up to six points more: a different corruption, hence another name.
    """
    return SYNTHETIC if frost_textures is None else "photographs"


def _severity(severity: int | Array) -> Array:
    try:
        checks.one_of(SEVERITIES, severity=operator.index(severity))
    except jax.errors.TracerIntegerConversionError:
        pass
    except TypeError:
        checks.one_of(SEVERITIES, severity=repr(severity))
    return jnp.asarray(severity, jnp.int32)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _apply(
    key: Key,
    name: str,
    table: str,
    images: Array,
    severity: Array,
    textures: FrostTextures | None,
) -> Array:
    clean = grid.nearest(images)
    extra = () if textures is None else (textures,)
    return grid.truncate(FUNCTIONS[name](key, clean, severity, TABLES[table], *extra))
