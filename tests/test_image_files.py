"""Encoded images: what 8 bits of grey or RGB can hold is read exactly, everything else is refused."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from varmixup_jax.image_files import decode_image

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 5, 3), np.uint8)
GREY = RGB[..., 0]
ALPHA = np.full((6, 5, 1), 255, np.uint8)


def encoded(array, mode=None, kind="PNG", **options):
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def png(depth, colour, row):
    """A PNG of one row, written by hand: Pillow does not write every kind."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 4, 1, depth, colour, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + bytes(row))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


def palette(**options):
    """An image of two palette entries, and its pixels."""
    index = RNG.integers(0, 2, (6, 5), np.uint8)
    image = Image.fromarray(index, "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    pixels = np.array([[10, 20, 30], [200, 100, 50]], np.uint8)[index]
    return encoded(image, **options), pixels


FRAMES = {"save_all": True, "append_images": [Image.fromarray(RGB[::-1])]}
PALETTE = palette()
EXACT = {
    "RGB": (encoded(RGB), 3, RGB),
    "grey_as_RGB": (encoded(GREY), 3, np.stack([GREY] * 3, -1)),
    "grey": (encoded(GREY), 1, GREY[..., None]),
    "grey_as_stored": (encoded(GREY), None, GREY[..., None]),
    "RGB_as_stored": (encoded(RGB), None, RGB),
    "RGB_of_grey_values": (encoded(GREY, "RGB"), 1, GREY[..., None]),
    "1_bit": (encoded(GREY > 99), 1, 255 * (GREY > 99)[..., None].astype(np.uint8)),
    "2_bits": (png(2, 0, [0b00011011]), 1, np.array([[[0], [85], [170], [255]]])),
    "4_bits": (png(4, 0, [0x01, 0x8F]), 1, np.array([[[0], [17], [136], [255]]])),
    "palette": (PALETTE[0], 3, PALETTE[1]),
    "opaque_alpha": (encoded(np.concatenate([RGB, ALPHA], -1)), 3, RGB),
    "opaque_grey_alpha": (encoded(GREY, "LA"), None, GREY[..., None]),
    "webp": (encoded(RGB, kind="WEBP", lossless=True), 3, RGB),
    "bmp": (encoded(RGB, kind="BMP"), 3, RGB),
}
LOSSY = {
    "16_bit_grey": (encoded(np.arange(30, dtype=np.uint16).reshape(6, 5) * 2000), 1, "8 bits"),
    "16_bit_grey_as_RGB": (encoded(np.full((6, 5), 9, np.uint16)), 3, "8 bits"),
    "16_bit_RGB": (png(16, 2, range(24)), 3, "8 bits"),
    "16_bit_alpha": (png(16, 6, [255] * 32), 3, "8 bits"),
    "CMYK": (encoded(RGB, "CMYK", "JPEG"), 3, "mode CMYK"),
    "transparent": (encoded(np.concatenate([RGB, ALPHA - 1], -1)), 3, "transparent pixels"),
    "palette_transparent": (palette(transparency=1)[0], 3, "transparent pixels"),
    "colour_transparent": (encoded(RGB, transparency=tuple(map(int, RGB[0, 0]))), 3, "transparent"),
    "colours_as_grey": (encoded(RGB), 1, "a colour image, must be grey"),
    "frames_png": (encoded(RGB, **FRAMES), 3, "several frames"),
    "frames_webp": (encoded(RGB, kind="WEBP", **FRAMES), 3, "several frames"),
    "float": (encoded(Image.fromarray(GREY / np.float32(255)), kind="TIFF"), 1, "not a whole"),
    "tiff_16": (encoded(np.full((6, 5), 9, np.uint16), kind="TIFF"), 1, "not a whole"),
    "gif": (encoded(GREY, kind="GIF"), 3, "not a whole"),
    "truncated": (encoded(RGB)[:-30], 3, "not a whole"),
}


@pytest.mark.parametrize("kind", EXACT)
def test_what_8_bits_hold_is_read_exactly(kind):
    content, channels, pixels = EXACT[kind]
    found = decode_image(content, channels)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("kind", LOSSY)
def test_what_8_bits_do_not_hold_is_refused(kind):
    """A 16-bit grey PNG of 256 levels was read as black and white, by `convert("RGB")`."""
    content, channels, message = LOSSY[kind]
    with pytest.raises(OSError, match=message):
        decode_image(content, channels)
