"""Crop and flip against numpy padding and slicing; the distribution of the draws."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from varmixup_jax.data import crop_and_flip
from varmixup_jax.data.augment import crop_at

augment = jax.jit(crop_and_flip, static_argnames=("pad", "flip"))


def numpy_crop(image, top, left, mirrored, pad):
    """The same by padding and slicing, one image at a time."""
    height, width, _ = image.shape
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    crop = padded[top : top + height, left : left + width]
    return crop[:, ::-1] if mirrored else crop


@pytest.mark.parametrize(
    ("height", "width", "channels", "pad"), [(5, 7, 3, 2), (8, 8, 1, 1), (4, 4, 2, 3), (3, 6, 1, 0)]
)
def test_every_corner_and_mirror_equals_numpy_pad_and_slice(height, width, channels, pad):
    corners = list(itertools.product(range(2 * pad + 1), range(2 * pad + 1), (False, True)))
    image = np.random.default_rng(0).random((len(corners), height, width, channels), np.float32)
    top, left, mirrored = map(np.array, zip(*corners, strict=True))
    got = jax.jit(crop_at, static_argnames="pad")(image, top, left, mirrored, pad=pad)
    want = [numpy_crop(x, *corner, pad) for x, corner in zip(image, corners, strict=True)]
    np.testing.assert_array_equal(got, np.stack(want))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.uint8])
def test_shape_and_dtype_are_kept_and_pixels_only_move(key, dtype):
    image = (np.arange(4 * 6 * 6 * 3) % 251).reshape(4, 6, 6, 3).astype(dtype)
    out = augment(key, image, pad=2, flip=True)
    assert out.shape == image.shape
    assert out.dtype == dtype
    for before, after in zip(np.asarray(image), np.asarray(out), strict=True):
        assert set(after.ravel().tolist()) <= set(before.ravel().tolist())


def test_no_pad_and_no_flip_is_the_identity(key):
    image = np.ones((2, 4, 4, 1), np.float32)
    assert crop_and_flip(key, image, pad=0, flip=False) is image


def test_flip_alone_mirrors_or_keeps(key):
    row = np.arange(4, dtype=np.float32)
    image = np.broadcast_to(row[None, None, :, None], (64, 3, 4, 1))
    out = np.asarray(augment(key, image, pad=0, flip=True))[:, 0, :, 0]
    mirrored, kept = (out == row[::-1]).all(axis=1), (out == row).all(axis=1)
    assert (mirrored ^ kept).all()
    assert 0 < kept.sum() < len(kept)


def drawn(batch, pad, flip):
    """(top, left, mirrored) that `crop_and_flip` used, read off an image of its own coordinates.

    The image is larger than the reach of the padding, so that its centre is never reflected.
    """
    size = 4 * pad + 3
    rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    coordinates = np.stack([rows, columns], axis=-1).astype(np.float32)
    image = np.broadcast_to(coordinates, (batch, size, size, 2))
    out = np.asarray(augment(jax.random.key(7), image, pad=pad, flip=flip))
    centre = size // 2
    mirrored = out[:, centre, centre + 1, 1] < out[:, centre, centre, 1]
    top = out[:, centre, centre, 0] - centre + pad
    left = out[:, centre, centre, 1] - centre + pad
    return top.astype(int), left.astype(int), mirrored


def test_corners_are_uniform_independent_and_the_coin_is_fair():
    pad, batch = 2, 5000
    side = 2 * pad + 1
    top, left, mirrored = drawn(batch, pad, flip=True)
    counts = np.bincount((top * side + left) * 2 + mirrored, minlength=2 * side**2)
    assert stats.chisquare(counts).pvalue > 0.001
    # Near misses: a coin of 0.6, and corners that are a little more likely in one row.
    biased_coin = np.tile([0.4, 0.6], side**2) / side**2
    heavier = np.where(np.arange(side) == 0, 1.4, 1.0)
    biased_rows = np.repeat(heavier / heavier.sum(), 2 * side) / (2 * side)
    for biased in (biased_coin, biased_rows):
        assert stats.chisquare(counts, batch * biased).pvalue < 0.001


def test_is_traced_once_and_is_a_single_gather():
    traced = chex.assert_max_traces(n=1)(lambda k, x: crop_and_flip(k, x, pad=2, flip=True))
    step = jax.jit(traced)
    image = np.zeros((8, 8, 8, 3), np.float32)
    for seed in (1, 2):
        step(jax.random.key(seed), image)
    lowered = augment.lower(jax.random.key(0), image, pad=2, flip=True).as_text()
    assert lowered.count('"stablehlo.gather"') == 1
    assert "stablehlo.pad" not in lowered


@pytest.mark.parametrize(
    ("shape", "pad", "message"),
    [
        ((4, 4, 3), 1, r"image: has shape \(4, 4, 3\), must be \[B, H, W, C\]"),
        ((2, 4, 8, 3), 4, r"pad = 4: must be below .* \(4, 8\)"),
        ((2, 4, 4, 3), -1, r"pad = -1: must be a whole number >= 0"),
    ],
)
def test_refusals(key, shape, pad, message):
    with pytest.raises(ValueError, match=message):
        crop_and_flip(key, np.zeros(shape, np.float32), pad=pad, flip=True)
