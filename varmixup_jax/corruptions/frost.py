"""Frost: a x + b texture, with a texture that is synthesised or cropped from photographs.

The original draws one of five photographs of frozen windows, which are not ours to ship. By default
the texture is a random field with the photographs' measured statistics; with `load_textures` the
photographs themselves are used.

Reference: Hendrycks and Dietterich 2019, section 4.1 and the published generators.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax import checks
from varmixup_jax.corruptions import grid
from varmixup_jax.corruptions.tables import FROST_SCALE, Table, column
from varmixup_jax.types import Array, Key

PHOTOGRAPHS = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
"""The original's list has a sixth, frost6.jpg, which its random index never reaches."""

# Per photograph, shrunk to 0.2: mean red, green, blue; standard deviation between crops of 32 x 32
# of the crop's mean grey; mean standard deviation of the grey within a crop; exponent of the radial
# power spectrum. Two of the five photographs are the same picture.
STATISTICS = (
    (0.304, 0.584, 0.650, 0.042, 0.056, -1.21),
    (0.787, 0.805, 0.841, 0.034, 0.071, -0.84),
    (0.787, 0.805, 0.841, 0.034, 0.071, -0.84),
    (0.541, 0.601, 0.649, 0.041, 0.102, -0.44),
    (0.440, 0.483, 0.528, 0.064, 0.136, -1.10),
)


class FrostTextures(NamedTuple):
    """Photographs to crop frost from, a pytree.

    Attributes:
      images: float32 `[T, H, W, 3]` in [0, 1], each padded to the largest height and width.
      sizes: int32 `[T, 2]`, height and width of each photograph.
    """

    images: Array
    sizes: Array


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
      textures: of `load_textures`; None synthesises the texture. One channel gets its luma.

    Returns:
      float32 `[B, S, S, C]`.
    """
    scale, weight = (
        grid.pick(column(table, "frost", i).astype(np.float32), severity) for i in range(2)
    )
    if textures is None:
        texture = synthesise(key, images.shape[0], images.shape[1])
    else:
        texture = crop(key, textures, images.shape[0], images.shape[1])
    texture = texture if images.shape[-1] == 3 else grid.luma(texture)
    return scale * images + weight * texture


def synthesise(key: Key, count: int, size: int) -> Array:
    """Textures with the first and second moments of crops of the photographs.

    Normal noise is shaped in the Fourier domain to the radial power spectrum f^p, scaled to the
    contrast of a photograph drawn at random, and added to its mean colour and to a draw of the
    crop's mean. The photographs' ridges (their higher moments) are not reproduced.

    Args:
      key: typed key.
      count: B, how many.
      size: S, pixels a side.

    Returns:
      float32 `[B, S, S, 3]` in [0, 1].
    """
    kind_key, noise_key = jax.random.split(key)
    kind = jax.random.randint(kind_key, (count,), 0, len(STATISTICS))
    chosen = jnp.asarray(np.asarray(STATISTICS, np.float32))[kind]
    colour, spread, contrast, power = (
        chosen[:, None, None, :3],
        chosen[:, 3, None, None, None],
        chosen[:, 4, None, None, None],
        chosen[:, 5, None, None],
    )
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    frequency[0, 0] = np.inf  # the mean is drawn by itself
    log_frequency = jnp.asarray(np.log(frequency).astype(np.float32))[None]
    amplitude = jnp.where(jnp.isinf(log_frequency), 0.0, jnp.exp(0.5 * power * log_frequency))
    draw = jax.random.normal(noise_key, (count, size * size + 1))
    noise = jnp.fft.rfft2(draw[:, 1:].reshape(count, size, size))
    field = jnp.fft.irfft2(noise * amplitude.astype(noise.dtype), s=(size, size))[..., None]
    field = field / jnp.std(field, axis=(1, 2, 3), keepdims=True)
    level = spread * draw[:, :1, None, None]
    return jnp.clip(colour + level + contrast * field, 0.0, 1.0)


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


def load_textures(
    directory: str | Path | None = None, *, table: str = "cifar", size: int = 32
) -> FrostTextures | None:
    """Reads the original photographs and shrinks them as the original does (bilinear).

    Args:
      directory: that holds `frost1.png` ... `frost5.jpg`; None looks inside an installed
        `imagecorruptions` package, which is not imported.
      table: `cifar` (photographs shrunk to 0.2) or `tiny_imagenet` (0.3).
      size: pixels a side of the images to corrupt; every photograph must be larger.

    Returns:
      The textures, or None when `directory` is None and no package has them at this size.

    Raises:
      ValueError: a photograph is missing or too small.
    """
    checks.one_of(FROST_SCALE, table=table)
    named = directory is not None
    if directory is None:
        found = importlib.util.find_spec("imagecorruptions")
        if found is None or found.origin is None:
            return None
        directory = Path(found.origin).parent / "frost"
    folder = Path(directory)
    photographs = [_shrunk(folder / name, FROST_SCALE[table]) for name in PHOTOGRAPHS]
    sizes = np.array([photograph.shape[:2] for photograph in photographs], np.int32)
    if sizes.min() <= size and not named:
        return None
    if sizes.min() <= size:
        raise ValueError(
            f"size = {size}: must be below {sizes.min()}, the smallest side of the shrunk "
            f"photographs in {folder} (table {table})"
        )
    tall, wide = sizes.max(axis=0)
    padded = [
        np.pad(p, ((0, tall - p.shape[0]), (0, wide - p.shape[1]), (0, 0))) for p in photographs
    ]
    return FrostTextures(jnp.asarray(np.stack(padded)), jnp.asarray(sizes))


def _shrunk(path: Path, scale: float) -> np.ndarray:
    from PIL import Image

    if not path.is_file():
        raise ValueError(f"frost_dir = {str(path.parent)!r}: must hold {', '.join(PHOTOGRAPHS)}")
    try:
        with Image.open(path) as file:
            photograph = np.asarray(file.convert("RGB"), np.float64)
    except Exception as error:  # Pillow raises many kinds for a damaged image
        raise ValueError(f"{path}: damaged, must be a photograph of frost") from error
    for axis in range(2):
        length = photograph.shape[axis]
        at = (np.arange(round(length * scale)) + 0.5) / scale - 0.5
        at = np.clip(at, 0, length - 1)
        low = np.minimum(at.astype(int), length - 2)
        part = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        lower, upper = photograph.take(low, axis), photograph.take(low + 1, axis)
        photograph = lower * (1 - part) + upper * part
    return (np.round(photograph) / grid.LEVELS).astype(np.float32)
