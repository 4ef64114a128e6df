"""The deterministic corruptions against scipy, Pillow and matplotlib, pixel by pixel."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage as ndimage
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from PIL import Image
from severities import TABLES

from varmixup_jax import corruptions
from varmixup_jax.corruptions import blur, jpeg, linear

SEVERITIES = (1, 3, 5)


def levels(size, channels, count=3, seed=0):
    """uint8 pictures: smooth, with noise and hard edges, the whole range."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(count, size, size, channels)), (0, 3, 3, 0))
    smooth = smooth / np.abs(smooth).max() * 100 + 128 + rng.normal(size=smooth.shape) * 6
    smooth[:, size // 4 : size // 2, size // 3 :] = rng.integers(0, 256, channels)
    return np.clip(smooth, 0, 255).astype(np.uint8)


def ours(name, pictures, severity, table="cifar"):
    images = jnp.asarray(pictures, jnp.float32) / 255
    out = corruptions.corrupt(jax.random.key(0), name, images, severity, table)
    return np.round(np.asarray(out) * 255).astype(int)


def as_file(values):
    return (np.clip(values, 0, 1) * 255).astype(np.uint8).astype(int)


def assert_matches(got, want, within=1, share=1.0):
    gap = np.abs(got - want)
    assert (gap <= within).mean() >= share, f"{(gap <= within).mean():.4f} within {within}"
    assert gap.mean() < 0.15


@pytest.mark.parametrize("sigma", [0.05, 0.4, 1.0, 2.5])
@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize(("border", "truncate"), [("nearest", 4.0), ("reflect", 3.0)])
def test_gaussian_matrix_is_scipys_filter(size, sigma, border, truncate):
    x = np.random.default_rng(0).normal(size=(size, 4))
    want = ndimage.gaussian_filter1d(x, sigma, axis=0, mode=border, truncate=truncate)
    got = linear.gaussian(size, sigma, truncate, border) @ x
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("size", [8, 28, 32, 64])
@pytest.mark.parametrize("factor", [1.0, 1.07, 1.25, 1.75, 2.25])
def test_centre_zoom_is_scipys_zoom_of_the_crop(size, factor):
    x = np.random.default_rng(0).normal(size=(size, size))
    crop = int(np.ceil(size / factor))
    top = (size - crop) // 2
    part = x[top : top + crop, top : top + crop]
    # scipy rounds the number of points too; of zooms that would change it by a tie it warns.
    zoomed = ndimage.zoom(part, factor, order=1)
    trim = (zoomed.shape[0] - size) // 2
    matrix = linear.centre_zoom(size, factor).astype(np.float64)
    want = zoomed[trim : trim + size, trim : trim + size]
    np.testing.assert_allclose(matrix @ x @ matrix.T, want, atol=1e-5)


@pytest.mark.parametrize(("table", "size", "channels"), [("cifar", 32, 3), ("cifar", 28, 1)])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_gaussian_blur(table, size, channels, severity):
    x = levels(size, channels)
    sigma = TABLES[table]["gaussian_blur"][severity - 1][0]
    want = ndimage.gaussian_filter(x / 255.0, (0, sigma, sigma, 0), mode="nearest", truncate=4)
    assert_matches(ours("gaussian_blur", x, severity, table), as_file(want))


@pytest.mark.parametrize(("table", "size"), [("cifar", 32), ("tiny_imagenet", 64)])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_defocus_blur(table, size, severity):
    x = levels(size, 3)
    radius, alias = TABLES[table]["defocus_blur"][severity - 1]
    y, grid = np.mgrid[-8:9, -8:9]
    disk = (grid**2 + y**2 <= radius**2).astype(float)
    taps = np.exp(-0.5 * (np.arange(-1, 2) / alias) ** 2)
    taps /= taps.sum()
    kernel = ndimage.correlate(disk / disk.sum(), np.outer(taps, taps), mode="constant")
    want = ndimage.correlate(x / 255.0, kernel[None, :, :, None], mode="mirror")
    got = ours("defocus_blur", x, severity, table)
    assert_matches(got, as_file(want))
    clear = np.abs(want * 255 - np.round(want * 255)) > 1e-3  # from where rounding could decide
    np.testing.assert_array_equal(got[clear], np.floor(want * 255)[clear])


def test_defocus_kernel_is_opencvs():
    cv2 = pytest.importorskip("cv2")
    y, x = np.mgrid[-4:5, -4:5]
    flat = (x**2 + y**2 <= 2.5**2).astype(np.float32)
    want = cv2.GaussianBlur(flat / flat.sum(), (3, 3), sigmaX=0.5)
    np.testing.assert_allclose(blur.disk(2.5, 0.5, 4), want, atol=1e-6)


@pytest.mark.parametrize("severity", corruptions.SEVERITIES)
def test_zoom_blur(severity):
    x = levels(32, 3, count=1)[0] / 255.0
    factors = np.arange(1, [1.06, 1.11, 1.16, 1.21, 1.26][severity - 1], 0.01)
    total = x.copy()
    for factor in factors:
        crop = int(np.ceil(32 / factor))
        top = (32 - crop) // 2
        part = x[top : top + crop, top : top + crop]
        zoomed = ndimage.zoom(part, (factor, factor, 1), order=1)
        trim = (zoomed.shape[0] - 32) // 2
        total += zoomed[trim : trim + 32, trim : trim + 32]
    want = as_file(total / (len(factors) + 1))
    assert_matches(ours("zoom_blur", np.uint8(x * 255)[None], severity)[0], want)


@pytest.mark.parametrize("severity", corruptions.SEVERITIES)
@pytest.mark.parametrize("name", ["brightness", "saturate"])
def test_hsv(name, severity):
    x = levels(32, 3)
    x[0, :2] = 0  # black, grey and white have no hue
    x[0, 2:4] = 77
    x[0, 4:6] = 255
    hsv = rgb_to_hsv(x / 255.0)
    row = TABLES["cifar"][name][severity - 1]
    if name == "brightness":
        hsv[..., 2] = np.clip(hsv[..., 2] + row[0], 0, 1)
    else:
        hsv[..., 1] = np.clip(hsv[..., 1] * row[0] + row[1], 0, 1)
    assert_matches(ours(name, x, severity), as_file(hsv_to_rgb(hsv)))


@pytest.mark.parametrize("channels", [1, 3])
def test_contrast(channels):
    x = levels(28, channels) / 255.0
    mean = x.mean(axis=(1, 2), keepdims=True)
    assert_matches(ours("contrast", np.round(x * 255), 4), as_file((x - mean) * 0.3 + mean))


def pillow(picture):
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)


@pytest.mark.parametrize(
    ("size", "channels", "table"), [(8, 1, "cifar"), (28, 1, "cifar"), (64, 3, "tiny_imagenet")]
)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_pixelate_is_pillows_box_resize(size, channels, table, severity):
    x = levels(size, channels)
    small = int(size * TABLES[table]["pixelate"][severity - 1][0])
    want = []
    for picture in x:
        image = pillow(picture).resize((small, small), Image.Resampling.BOX)
        image = image.resize((size, size), Image.Resampling.BOX)
        want.append(np.asarray(image).reshape(size, size, channels))
    np.testing.assert_array_equal(ours("pixelate", x, severity, table), np.stack(want))


@pytest.mark.parametrize(
    ("size", "channels", "table"),
    [(8, 3, "cifar"), (28, 1, "cifar"), (28, 3, "cifar"), (33, 3, "tiny_imagenet")],
)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_is_pillows_to_the_grey_level(size, channels, table, severity):
    x = levels(size, channels)
    quality = TABLES[table]["jpeg_compression"][severity - 1][0]
    want = []
    for picture in x:
        file = io.BytesIO()
        pillow(picture).save(file, "JPEG", quality=quality)
        with Image.open(file) as image:
            want.append(np.asarray(image).reshape(picture.shape))
    assert_matches(ours("jpeg_compression", x, severity, table), np.stack(want), 2, 0.99)


def test_jpeg_transform_is_the_cosine_transform():
    frequency, place = np.mgrid[:8, :8]
    cosine = np.cos((2 * place + 1) * frequency * np.pi / 16) * np.sqrt(2)
    cosine[0] = 1.0
    np.testing.assert_allclose(jpeg.transform() / 2**jpeg.BITS, cosine, atol=4 / 2**jpeg.BITS)
