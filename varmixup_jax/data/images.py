"""Encoded images to uint8 arrays, and arrays to another size."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

_MODES = {1: "L", 3: "RGB"}


def decode_image(encoded: bytes | Path, channels: int, size: int | None = None) -> np.ndarray:
    """Decodes a PNG or JPEG.

    Args:
      encoded: the file's bytes, or its path.
      channels: 1 for grey, 3 for RGB; an image of the other kind is converted.
      size: if given, the image is resized as `resize_images` does.

    Returns:
      uint8 `[H, W, channels]`.

    Raises:
      OSError: if the bytes are not a whole image.
    """
    stream = io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded
    try:
        with Image.open(stream, formats=("PNG", "JPEG")) as opened:
            right = opened.mode == _MODES[channels]
            array = np.asarray(opened if right else opened.convert(_MODES[channels]))
    except Exception as error:  # Pillow raises many kinds for a damaged image
        raise OSError(f"not a whole PNG or JPEG ({type(error).__name__})") from error
    array = array[..., None] if channels == 1 else array
    return array if size is None else resize_images(array[None], size)[0]


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
    count, height, width, channels = images.shape
    if (height, width) == (size, size):
        return images
    method = Image.Resampling.BOX if size <= min(height, width) else Image.Resampling.BICUBIC
    resized = np.empty((count, size, size, channels), np.uint8)
    for row, image in enumerate(images):
        plane = Image.fromarray(image[..., 0] if channels == 1 else image)
        resized[row] = np.asarray(plane.resize((size, size), method)).reshape(size, size, channels)
    return resized
