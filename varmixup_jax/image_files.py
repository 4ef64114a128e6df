"""Decodes images to uint8 arrays without loss, and resizes arrays."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

# Pillow is imported where it is used: data sets of arrays do not need it.
if TYPE_CHECKING:
    from PIL import Image

FORMATS = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "BMP": (".bmp",), "WEBP": (".webp",)}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
_GREY, _ALPHA = ("1", "L"), ("LA", "PA", "RGBA")


def decode_image(
    encoded: bytes | Path, channels: int | None, size: int | None = None
) -> np.ndarray:
    """Decodes a PNG, JPEG, BMP or WebP of at most 8 bits per channel to its exact pixels.

    Palettes are looked up, an alpha channel that is opaque everywhere is dropped and grey becomes RGB;
    anything that 8 bits of grey or RGB cannot hold is refused rather than converted.

    Args:
      encoded: the file's bytes, or its path.
      channels: 1 for grey, 3 for RGB, None for as many as are stored.
      size: if given, the image is resized as `resize_images` does.

    Returns:
      uint8 `[H, W, channels]`.

    Raises:
      OSError: if the bytes are not a whole image, or it has 16 bits per channel, transparent pixels,
        several frames, CMYK instead of RGB, or colours where grey is asked for.
    """
    from PIL import Image

    stream = io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded
    try:
        with Image.open(stream, formats=tuple(FORMATS)) as opened:
            wrong = _not_held(opened)
            image = opened if wrong else _opaque(opened)
            image.load()
    except Exception as error:  # Pillow raises many types of errors for damaged images
        raise OSError(f"not a whole {', '.join(FORMATS)} image ({type(error).__name__})") from error
    if wrong or image.mode in _ALPHA:
        raise OSError(
            f"an image with {wrong or 'transparent pixels'}, must be opaque grey or RGB of 8 bits"
        )
    array = np.asarray(image.convert("RGB"))
    if channels is None:
        channels = 1 if image.mode in _GREY else 3
    if channels == 1:
        if (array != array[..., :1]).any():
            raise OSError("a colour image, must be grey like the rest of the set")
        array = array[..., :1]
    return array if size is None else resize_images(array[None], size)[0]


def decode_images(
    encoded: Iterable[tuple[str, bytes | Path]],
    count: int,
    channels: int,
    size: int | None = None,
    shape: tuple[int, ...] | None = None,
) -> np.ndarray:
    """Decodes images of one size, each as `decode_image` does.

    Args:
      encoded: what an error calls each image, and its bytes or path.
      count: how many there are.
      channels: 1 for grey, 3 for RGB.
      size: if given, each image is resized to it.
      shape: of every image; None for that of the first.

    Returns:
      uint8 `[count, H, W, channels]`.

    Raises:
      ValueError: naming the image that cannot be decoded, or has another shape.
    """
    images = None
    for row, (name, source) in enumerate(encoded):
        try:
            image = decode_image(source, channels, size)
        except OSError as error:
            raise ValueError(f"{name}: {error}") from error
        shape = shape or image.shape
        if image.shape != shape:
            raise ValueError(f"{name}: shape {image.shape}, must be {shape} as every image")
        images = np.empty((count, *shape), np.uint8) if images is None else images
        images[row] = image
    assert images is not None  # readers refuse empty sets
    return images


def _not_held(image: Image.Image) -> str:
    """What the image has that 8 bits of grey, RGB or alpha cannot hold; "" if nothing."""
    # Pillow opens 16-bit colour in an 8-bit mode; the name of the stored mode reveals it.
    stored = str(getattr(image, "tile", "")) if image.format == "PNG" else ""
    if image.mode[0] in "IF" or ";16" in stored:
        return "more than 8 bits per channel"
    if image.mode not in ("P", "RGB", *_GREY, *_ALPHA):
        return f"the colours of mode {image.mode}"
    if image.format in ("PNG", "WEBP") and getattr(image, "n_frames", 1) > 1:
        return "several frames"
    return ""


def _opaque(image: Image.Image) -> Image.Image:
    """The image without its alpha channel if that is opaque; else unchanged."""
    if image.mode not in _ALPHA and "transparency" not in image.info:
        return image
    layered = image.convert("RGBA")
    if layered.getextrema()[-1] != (255, 255):
        return layered
    return layered.convert("L" if image.mode in (*_GREY, "LA") else "RGB")


def resize_images(images: np.ndarray, size: int) -> np.ndarray:
    """Resizes a batch to squares; other aspect ratios are squeezed, nothing is cut off.

    Areas are averaged (Pillow's BOX, as in Downsampled ImageNet), unless a side grows: then the
    interpolation is bicubic.

    Args:
      images: uint8 `[N, H, W, C]`, C = 1 or 3.
      size: the new height and width in pixels, >= 1.

    Returns:
      uint8 `[N, size, size, C]`.

    Example:
      >>> resize_images(np.array([[0, 4], [8, 12]], np.uint8)[None, :, :, None], 1).item()
      6

    References:
      Chrabaszcz, Loshchilov and Hutter 2017, A Downsampled Variant of ImageNet, section 2.
    """
    from PIL import Image

    count, height, width, channels = images.shape
    if (height, width) == (size, size):
        return images
    method = Image.Resampling.BOX if size <= min(height, width) else Image.Resampling.BICUBIC
    resized = np.empty((count, size, size, channels), np.uint8)
    for row, image in enumerate(images):
        plane = Image.fromarray(image[..., 0] if channels == 1 else image)
        resized[row] = np.asarray(plane.resize((size, size), method)).reshape(size, size, channels)
    return resized
