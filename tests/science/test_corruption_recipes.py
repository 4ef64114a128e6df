"""Whole procedures in NumPy, SciPy and OpenCV from the same random draws as ours.

Only the draws are JAX's (which key, which layout is ours to choose); all that is done with them is
written out here in float64 from the words of the paper and its generators.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage as ndimage
import scipy.stats as stats
from severities import TABLES

from varmixup_jax import corruptions

SIZE = 16


def key():
    """The key of every draw here, ours and by hand."""
    return jax.random.key(5)


def pictures(count=2, channels=3, size=SIZE):
    """Smooth uint8 pictures that use the whole range."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(count, size, size, channels)), (0, 2, 2, 0))
    return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


def ours(name, x, severity, table):
    images = jnp.asarray(x, jnp.float32) / 255
    out = corruptions.corrupt(key(), name, images, severity, table)
    return np.round(np.asarray(out) * 255)


def assert_same(got, want, share=0.99):
    """Equal after clipping and truncation, but for values next to a whole level.

    What is a whole level in exact arithmetic is a little below it in float64 as often as not.
    """
    off = np.abs(got - np.floor(np.clip(want, 0, 1) * 255 + 1e-4))
    assert off.max() <= 1
    assert (off == 0).mean() >= share, (off == 0).mean()


def uniform(of, shape, low=0.0, high=1.0):
    return np.asarray(jax.random.uniform(of, shape, minval=low, maxval=high), np.float64)


def normal(of, shape):
    return np.asarray(jax.random.normal(of, shape), np.float64)


def streak(layer, degrees, radius, sigma):
    """ImageMagick's motion blur of `[S, S]`, to uint8 as it leaves it."""
    taps = np.arange(2 * radius + 1)
    weights = np.exp(-(taps**2) / (2 * sigma**2))
    row, col = np.indices(layer.shape)
    angle, total = np.deg2rad(degrees), np.zeros(layer.shape)
    for k, weight in zip(taps, weights / weights.sum(), strict=True):
        dy, dx = np.ceil(k * np.sin(angle) - 0.5), np.ceil(k * np.cos(angle) - 0.5)
        y, x = (np.clip(p + d, 0, len(layer) - 1).astype(int) for p, d in ((row, dy), (col, dx)))
        total += weight * layer[y, x]
    return np.floor(total * 255 + 1e-4) / 255


def centre_zoom(layer, factor):
    size = len(layer)
    crop = int(np.ceil(size / factor))
    top = (size - crop) // 2
    zoomed = ndimage.zoom(layer[top : top + crop, top : top + crop], factor, order=1)
    trim = (len(zoomed) - size) // 2
    return zoomed[trim : trim + size, trim : trim + size]


@pytest.mark.parametrize(("table", "severity"), [("cifar", 3), ("tiny_imagenet", 4)])
def test_snow(table, severity):
    mean, sd, zoom, threshold, radius, sigma, mix = TABLES[table]["snow"][severity - 1]
    x = pictures()
    noise_key, angle_key = jax.random.split(key())
    noise = mean + sd * normal(noise_key, (2, SIZE, SIZE))
    degrees = uniform(angle_key, (2,), -135.0, -45.0)
    want = []
    for image, field, angle in zip(x / 255, noise, degrees, strict=True):
        layer = centre_zoom(field, zoom)
        layer[layer < threshold] = 0
        layer = np.floor(np.clip(layer, 0, 1) * 255 + 1e-4) / 255
        layer = streak(layer, angle, radius, sigma)
        grey = image @ [0.299, 0.587, 0.114]
        pale = np.maximum(image, (1.5 * grey + 0.5)[..., None])
        snowy = mix * image + (1 - mix) * pale
        want.append(snowy + (layer + np.rot90(layer, 2))[..., None])
    assert_same(ours("snow", x, severity, table), np.array(want), 0.97)


@pytest.mark.parametrize(("table", "severity"), [("cifar", 2), ("tiny_imagenet", 5)])
def test_elastic(table, severity):
    cv2 = pytest.importorskip("cv2")
    size = 32
    alpha, sigma, jitter = size * np.array(TABLES[table]["elastic_transform"][severity - 1])
    x = pictures(size=size)
    draw = uniform(key(), (2, 6 + 2 * size**2), -1.0, 1.0)
    far, near = size // 2 + size // 3, size // 2 - size // 3
    start = np.float32([[far, far], [far, near], [near, near]])
    row, col = np.indices((size, size))
    for got, image, d in zip(ours("elastic_transform", x, severity, table), x, draw, strict=True):
        matrix = cv2.getAffineTransform(start, np.float32(start + jitter * d[:6].reshape(3, 2)))
        warped = cv2.warpAffine(
            np.float32(image), matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101
        )
        field = d[6:].reshape(size, size, 2)
        right, down = (
            alpha * ndimage.gaussian_filter(field[..., i], sigma, mode="reflect", truncate=3)
            for i in range(2)
        )
        want = [
            ndimage.map_coordinates(
                warped[..., c], [row + down, col + right], order=1, mode="reflect"
            )
            for c in range(3)
        ]
        gap = np.abs(got - np.floor(np.stack(want, axis=-1)))
        assert gap.mean() < 0.6
        assert np.percentile(gap, 99) <= 3


@pytest.mark.parametrize("severity", [2, 5])
def test_spatter(severity):
    cv2 = pytest.importorskip("cv2")
    mean, sd, sigma, threshold, strength, mud = TABLES["cifar"]["spatter"][severity - 1]
    size = 32
    x = pictures(size=size)
    noise = mean + sd * normal(key(), (2, size, size))
    for got, image, field in zip(
        ours("spatter", x, severity, "cifar"), x / 255, noise, strict=True
    ):
        layer = ndimage.gaussian_filter(field, sigma, mode="nearest")
        if mud:
            mask = ndimage.gaussian_filter(
                (layer > threshold).astype(float), strength, mode="nearest"
            )
            mask = np.where(mask < 0.8, 0, mask)[..., None]
            want = image * (1 - mask) + mask * np.array([63, 42, 20]) / 255
            assert mask.any()
        else:
            layer = np.where(layer < threshold, 0, layer)
            levels = np.uint8(layer * 255)
            distance = cv2.distanceTransform(255 - cv2.Canny(levels, 50, 150), cv2.DIST_L2, 5)
            distance = cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8)
            emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
            raised = cv2.filter2D(cv2.equalizeHist(distance), cv2.CV_8U, emboss)
            sheen = levels * cv2.blur(raised, (3, 3)).astype(float)
            sheen = strength * sheen / sheen.max()
            want = image + sheen[..., None] * np.array([175, 238, 238]) / 255
            assert sheen.any()
        assert_same(got, want, 0.97)


@pytest.mark.parametrize(("table", "severity"), [("cifar", 4), ("tiny_imagenet", 5)])
def test_glass_blur(table, severity):
    sigma, reach, passes = TABLES[table]["glass_blur"][severity - 1]
    x = pictures()
    x_blurred = ndimage.gaussian_filter(x / 255, (0, sigma, sigma, 0), mode="nearest", truncate=4)
    want = np.floor(x_blurred * 255 + 1e-4)
    for index in range(passes):
        draw = uniform(jax.random.fold_in(key(), index), (2, 2, SIZE, SIZE))
        down, right = np.floor(draw * 2 * reach).astype(int) - reach
        for image in range(2):
            for row in range(SIZE - reach, reach, -1):
                for col in range(SIZE - reach, reach, -1):
                    there = row + down[image, row, col], col + right[image, row, col]
                    want[image, row, col] = want[image][there]
    want = ndimage.gaussian_filter(want / 255, (0, sigma, sigma, 0), mode="nearest", truncate=4)
    assert_same(ours("glass_blur", x, severity, table), want, 0.97)


def plasma(draws, size, decay):
    """Diamond-square on a torus from uniform draws: per level the centres, tops and lefts."""
    height, step, wibble, used = np.zeros((size, size)), size, 100.0, 0
    while step >= 2:
        half, count = step // 2, size // step
        amounts = wibble**2 * draws[used : used + 3 * count**2].reshape(3, count, count)
        used += 3 * count**2

        def at(y, x, now=height):
            return now[y % size, x % size]

        corners = [(i * step, j * step) for i in range(count) for j in range(count)]
        for (y, x), amount in zip(corners, amounts[0].flat, strict=True):
            around = [at(y, x), at(y + step, x), at(y, x + step), at(y + step, x + step)]
            height[y + half, x + half] = np.mean(around) + amount
        for (y, x), top, left in zip(corners, amounts[1].flat, amounts[2].flat, strict=True):
            middle = at(y + half, x + half)
            across = [at(y, x), at(y, x + step), middle, at(y - half, x + half)]
            along = [at(y, x), at(y + step, x), middle, at(y + half, x - half)]
            height[y, x + half] = np.mean(across) + top
            height[y + half, x] = np.mean(along) + left
        step, wibble = half, wibble / decay
    return (height - height.min()) / np.ptp(height)


@pytest.mark.parametrize(
    ("table", "severity", "size"), [("cifar", 4, SIZE), ("tiny_imagenet", 1, 12)]
)
def test_fog(table, severity, size):
    thickness, decay = TABLES[table]["fog"][severity - 1]
    x = pictures(size=size) // 2
    draws = uniform(key(), (2, SIZE**2 - 1), -1.0, 1.0)
    for got, image, draw in zip(ours("fog", x, severity, table), x / 255, draws, strict=True):
        top = image.max()
        # Made at the next power of two, and cropped.
        haze = thickness * plasma(draw, SIZE, decay)[:size, :size, None]
        assert_same(got, (image + haze) * top / (top + thickness), 0.97)


@pytest.mark.parametrize("table", ["cifar", "tiny_imagenet"])
def test_motion_blur_is_along_an_angle_uniform_between_45_degrees_either_side(table):
    count, size = 200, 40
    radius, sigma = TABLES[table]["motion_blur"][4]
    x = np.zeros((count, size, size, 1))
    x[:, size // 2, size // 2] = 255
    spread = ours("motion_blur", x, 5, table)[..., 0]
    row, col = np.indices((size, size)) - size // 2
    down, right = ((spread * axis).sum(axis=(1, 2)) for axis in (row, col))
    # Pixels hand their light on to where the blur reads them from: against the direction.
    degrees = np.rad2deg(np.arctan2(-down, -right))
    assert stats.kstest(degrees, stats.uniform(-45, 90).cdf).pvalue > 1e-3
    assert stats.kstest(degrees, stats.uniform(-30, 60).cdf).pvalue < 1e-3
    taps = np.arange(2 * radius + 1)
    mean = np.average(taps, weights=np.exp(-(taps**2) / (2 * sigma**2)))
    reach = np.hypot(down, right) / spread.sum(axis=(1, 2))
    np.testing.assert_allclose(reach.mean(), mean, rtol=0.1)
