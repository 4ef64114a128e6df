"""Motion blur, glass blur, elastic and spatter against loops by hand, scipy and OpenCV."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage as ndimage
from severities import TABLES

from varmixup_jax import corruptions
from varmixup_jax.corruptions import blur, edges, elastic, motion, spatter


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(size=shape)


@pytest.mark.parametrize(("reach", "size"), [(1, 12), (2, 12), (2, 17)])
def test_glass_shuffle_is_the_sequential_one(reach, size):
    rng = np.random.default_rng(reach)
    down, right = rng.integers(-reach, reach, size=(2, 3, size, size))
    got = np.asarray(
        jax.jit(blur.shuffle_sources)(
            jnp.asarray(down, jnp.int32), jnp.asarray(right, jnp.int32), jnp.int32(reach)
        )
    )
    for image in range(3):
        values = np.arange(size * size).reshape(size, size)
        for row in range(size - reach, reach, -1):
            for col in range(size - reach, reach, -1):
                values[row, col] = values[row + down[image, row, col], col + right[image, row, col]]
        np.testing.assert_array_equal(got[image], values.reshape(-1))


def test_glass_blur_moves_pixels_by_at_most_one_per_shuffle():
    # Severity 1 blurs with sigma 0.05, which is nothing: every pixel is a neighbour's.
    x = np.round(noise(60, 32, 32, 3) * 255) / 255
    out = corruptions.corrupt(jax.random.key(0), "glass_blur", jnp.asarray(x, jnp.float32), 1)
    shifted = [np.roll(x, (dy, dx), (1, 2)) for dy in (0, 1) for dx in (0, 1)]
    match = np.stack([np.abs(np.asarray(out) - s) < 1e-3 for s in shifted])[:, :, 2:, 2:]
    match = match.all(axis=-1)
    assert match.any(axis=0).all()
    shares = match.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(shares, 0.25, atol=0.02)


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize("table", ["cifar", "tiny_imagenet"])
def test_streak_is_the_sum_over_offsets(table, severity):
    radius, sigma = np.array(TABLES[table]["motion_blur"], float).T
    degrees = np.array([-40.0, 0.0, 30.0, -100.0], np.float32)
    x = noise(4, 16, 16, 1)
    run = jax.jit(lambda x, a: motion.streak(x, a, radius, sigma, jnp.int32(severity)))
    got = run(jnp.asarray(x, jnp.float32), jnp.asarray(degrees))
    taps = np.arange(2 * radius[severity - 1] + 1)
    weight = np.exp(-0.5 * (taps / sigma[severity - 1]) ** 2)
    row, col = np.mgrid[:16, :16]
    for image, angle in enumerate(np.deg2rad(degrees.astype(np.float64))):
        total = np.zeros((16, 16))
        for k, w in zip(taps, weight / weight.sum(), strict=True):
            dy, dx = np.ceil(k * np.sin(angle) - 0.5), np.ceil(k * np.cos(angle) - 0.5)
            at = np.clip(row + dy, 0, 15).astype(int), np.clip(col + dx, 0, 15).astype(int)
            total += w * x[image][at][..., 0]
        gap = total - np.asarray(got[image, ..., 0])  # truncated to the grid
        assert gap.min() > -1e-4
        assert gap.max() < 1 / 255 + 1e-5


def test_displace_is_scipys_map_coordinates():
    x, field = noise(2, 12, 12, 3), noise(2, 12, 12, 2, seed=1) * 8 - 4
    got = jax.jit(elastic.displace)(jnp.asarray(x, jnp.float32), jnp.asarray(field, jnp.float32))
    row, col = np.mgrid[:12, :12]
    for image in range(2):
        at = [row + field[image, ..., 1], col + field[image, ..., 0]]
        for channel in range(3):
            want = ndimage.map_coordinates(x[image, ..., channel], at, order=1, mode="reflect")
            np.testing.assert_allclose(np.asarray(got[image, ..., channel]), want, atol=1e-5)


@pytest.mark.parametrize("size", [16, 28])
def test_affine_is_scipys(size):
    x = ndimage.gaussian_filter(noise(3, size, size, 1), (0, 1, 1, 0))
    moved = (noise(3, 3, 2, seed=1) * 2 - 1) * 2
    got = np.asarray(
        jax.jit(elastic.affine)(jnp.asarray(x, jnp.float32), jnp.asarray(moved, jnp.float32))
    )
    far, near = size // 2 + size // 3, size // 2 - size // 3
    start = np.array([[far, far], [far, near], [near, near]], float)
    for image in range(3):
        end = np.column_stack([start + moved[image], np.ones(3)])
        back = np.linalg.solve(end, start)  # target (x, y, 1) @ back = source (x, y)
        matrix = back[:2].T[::-1, ::-1]
        want = ndimage.affine_transform(
            x[image, ..., 0], matrix, offset=back[2][::-1], order=1, mode="mirror"
        )
        # Coordinates are rounded to 1/32 pixel, as OpenCV does.
        np.testing.assert_allclose(got[image, ..., 0], want, atol=np.ptp(x) / 32)


def test_affine_is_opencvs():
    cv2 = pytest.importorskip("cv2")
    x = noise(2, 32, 32, 3).astype(np.float32)
    moved = ((noise(2, 3, 2, seed=1) * 2 - 1) * 2.5).astype(np.float32)
    got = np.asarray(jax.jit(elastic.affine)(jnp.asarray(x), jnp.asarray(moved)))
    start = np.array([[26, 26], [26, 6], [6, 6]], np.float32)
    for image in range(2):
        matrix = cv2.getAffineTransform(start, start + moved[image])
        want = cv2.warpAffine(x[image], matrix, (32, 32), borderMode=cv2.BORDER_REFLECT_101)
        # One step of 1/32 pixel where a coordinate is next to a rounding boundary.
        gap = np.abs(got[image] - want)
        assert gap.max() <= 2 / 32 + 1e-5
        assert gap.mean() < 0.01


def layers(count=6, size=32, mean=0.65, deviation=0.2, sigma=1.0, threshold=0.69):
    drops = mean + deviation * np.random.default_rng(0).normal(size=(count, size, size))
    drops = ndimage.gaussian_filter(drops, (0, sigma, sigma), mode="nearest")
    return np.where(drops < threshold, 0.0, drops).astype(np.float32)


def test_canny_and_chamfer_are_opencvs():
    cv2 = pytest.importorskip("cv2")
    drops = (layers() * 255).astype(np.uint8)
    # Slopes between the two thresholds too: edges only where they meet a steep one.
    gentle = ndimage.gaussian_filter(noise(6, 32, 32), (0, 2, 2))
    gentle = (gentle - gentle.min()) / np.ptp(gentle) * 160
    drops = np.concatenate([drops, gentle.astype(np.uint8)])
    got = np.asarray(jax.jit(edges.canny)(jnp.asarray(drops, jnp.float32)))
    want = np.stack([cv2.Canny(image, 50, 150) > 0 for image in drops])
    assert want.any()
    np.testing.assert_array_equal(got, want)
    distance = np.asarray(jax.jit(edges.chamfer)(jnp.asarray(want), 20.0))
    exact = [cv2.distanceTransform(np.uint8(255 * ~edge), cv2.DIST_L2, 5) for edge in want]
    np.testing.assert_allclose(distance, np.minimum(np.stack(exact), 20), atol=0.05)


def test_chamfer_is_within_the_masks_error_of_euclid():
    edge = np.zeros((1, 17, 17), bool)
    edge[0, 8, 8] = True
    got = np.asarray(jax.jit(edges.chamfer)(jnp.asarray(edge), 20.0))[0]
    want = ndimage.distance_transform_edt(~edge[0])
    assert np.abs(got - want).max() <= 0.03 * want.max()
    assert (np.asarray(jax.jit(edges.chamfer)(jnp.zeros((1, 9, 9), bool), 20.0)) == 20).all()


def test_water_is_opencvs():
    cv2 = pytest.importorskip("cv2")
    drops = layers()
    got = np.asarray(jax.jit(spatter.water)(jnp.asarray(drops)[..., None]))[..., 0]
    for image, layer in zip(got, (drops * 255).astype(np.uint8), strict=True):
        distance = cv2.distanceTransform(255 - cv2.Canny(layer, 50, 150), cv2.DIST_L2, 5)
        distance = cv2.equalizeHist(cv2.blur(np.minimum(distance, 20), (3, 3)).astype(np.uint8))
        emboss = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
        raised = cv2.blur(cv2.filter2D(distance, cv2.CV_8U, emboss), (3, 3)).astype(np.float32)
        want = layer * raised
        np.testing.assert_allclose(image, want / want.max(), atol=1e-5)


def test_no_water_leaves_the_image():
    assert (np.asarray(jax.jit(spatter.water)(jnp.zeros((1, 8, 8, 1)))) == 0).all()
