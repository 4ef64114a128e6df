"""The photographs of frozen windows that the original crops its frost from, if available.

We may not redistribute them. The PyPI package `imagecorruptions` holds the original files; they are
read from where it is installed, without importing it.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from varmixup_jax import checks
from varmixup_jax.corruptions import grid
from varmixup_jax.corruptions.severity_tables import FROST_SCALE
from varmixup_jax.image_files import decode_image
from varmixup_jax.types import Array

PHOTOGRAPHS = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
"""The original's list has a sixth, frost6.jpg, which its random index never reaches."""

PACKAGE = "imagecorruptions"
SYNTHETIC = "synthetic"


class FrostTextures(NamedTuple):
    """Photographs to crop frost from, a pytree.

    Attributes:
      images: float32 `[T, H, W, 3]` in [0, 1], each padded to the largest height and width.
      sizes: int32 `[T, 2]`, height and width of each photograph.
    """

    images: Array
    sizes: Array


def load_textures(
    where: str | Path = "", *, table: str = "cifar", size: int = 32
) -> FrostTextures | None:
    """Reads the original photographs and shrinks them as the original does (bilinear).

    Args:
      where: a directory that holds `frost1.png` ... `frost5.jpg`; `imagecorruptions` for those
        inside that installed package; `synthetic` for none; "" for those of the package if it is
        installed and they are large enough, else none.
      table: `cifar` (photographs shrunk to 0.2) or `tiny_imagenet` (0.3).
      size: pixels per side of the images to corrupt; every photograph must be larger.

    Returns:
      The textures, or None if the texture is to be synthesised.

    Raises:
      ValueError: photographs that were asked for are missing, damaged or too small.
    """
    checks.one_of(FROST_SCALE, table=table)
    where = str(where)
    if where == SYNTHETIC:
        return None
    folder = _inside_package() if where in ("", PACKAGE) else Path(os.path.expanduser(where))
    if folder is None and where:
        raise ValueError(
            f"frost_dir = {where!r}: is not installed (pip install {PACKAGE}), must be that, "
            f"a directory with {', '.join(PHOTOGRAPHS)}, or {SYNTHETIC}"
        )
    if folder is None:
        return None
    photographs = [_shrunk(folder / name, FROST_SCALE[table]) for name in PHOTOGRAPHS]
    sizes = np.array([photograph.shape[:2] for photograph in photographs], np.int32)
    if sizes.min() <= size:
        if not where:
            return None
        raise ValueError(
            f"frost_dir = {where!r}: size = {size}: must be below {sizes.min()}, the smallest side "
            f"of these photographs when shrunk (table {table})"
        )
    tall, wide = sizes.max(axis=0)
    padded = [
        np.pad(p, ((0, tall - p.shape[0]), (0, wide - p.shape[1]), (0, 0))) for p in photographs
    ]
    return FrostTextures(jnp.asarray(np.stack(padded)), jnp.asarray(sizes))


def _inside_package() -> Path | None:
    """The folder of the photographs in the installed package, found without importing it."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "frost"
    return folder if all((folder / name).is_file() for name in PHOTOGRAPHS) else None


def _shrunk(path: Path, scale: float) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f"frost_dir = {str(path.parent)!r}: must hold {', '.join(PHOTOGRAPHS)}")
    try:
        photograph = decode_image(path, channels=3).astype(np.float64)
    except OSError as error:
        text = f"{path.name} is {error}"
        raise ValueError(f"frost_dir = {str(path.parent)!r}: {text}") from error
    for axis in range(2):
        length = photograph.shape[axis]
        at = (np.arange(round(length * scale)) + 0.5) / scale - 0.5
        at = np.clip(at, 0, length - 1)
        low = np.minimum(at.astype(int), length - 2)
        part = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        lower, upper = photograph.take(low, axis), photograph.take(low + 1, axis)
        photograph = lower * (1 - part) + upper * part
    return (np.round(photograph) / grid.LEVELS).astype(np.float32)
