"""The random corruptions: distributions per intensity, fog and snow by hand, frost's textures."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage as ndimage
import scipy.stats as stats
from PIL import Image

from varmixup_jax import corruptions
from varmixup_jax.corruptions import frost, noise, weather
from varmixup_jax.corruptions.tables import CIFAR

N = 20_000


@functools.cache
def compiled(function):
    return jax.jit(lambda key, images, severity: function(key, images, severity, CIFAR))


def flat(value):
    """Images of one intensity, N values in the shape of a batch."""
    return jnp.full((N // 400, 20, 20, 1), value, jnp.float32)


def draw(function, value, severity, seed=0):
    out = compiled(function)(jax.random.key(seed), flat(value), jnp.int32(severity))
    return np.asarray(out, np.float64).reshape(-1)


def is_normal(sample, mean, deviation):
    return stats.kstest(sample, stats.norm(mean, deviation).cdf).pvalue > 1e-3


@pytest.mark.parametrize("severity", [1, 5])
def test_gaussian_noise_has_its_deviation_and_not_a_tenth_more(severity):
    scale = CIFAR["gaussian_noise"][severity - 1][0]
    sample = draw(noise.gaussian_noise, 0.4, severity)
    assert is_normal(sample, 0.4, scale)
    assert not is_normal(sample, 0.4, 1.1 * scale)
    assert not is_normal(sample, 0.4 + 0.1 * scale, scale)


@pytest.mark.parametrize("value", [0.25, 1.0])
def test_speckle_noise_is_proportional_to_the_intensity(value):
    sample = draw(noise.speckle_noise, value, 4)
    assert is_normal(sample, value, 0.16 * value)
    assert not is_normal(sample, value, 0.18 * value)


@pytest.mark.parametrize("level", [0, 3, 20, 128, 255])
@pytest.mark.parametrize("severity", [1, 5])
def test_shot_noise_counts_are_poisson(level, severity):
    photons = CIFAR["shot_noise"][severity - 1][0]
    rate = photons * level / 255
    counts = np.round(draw(noise.shot_noise, level / 255, severity) * photons).astype(int)

    def fits(mean):
        low, high = stats.poisson(mean).ppf([0.001, 0.999]).astype(int)
        edges = np.unique(np.linspace(low, high, 15).astype(int))
        bounds = np.concatenate([[-1], edges, [10**6]])
        chance = np.diff(stats.poisson(mean).cdf(bounds))
        found = np.histogram(counts, bounds + 0.5)[0]
        use = chance * N > 5
        if use.sum() < 2:
            return bool(found[use].sum() == N)
        share = chance[use] / chance[use].sum()
        return stats.chisquare(found[use], share * found[use].sum()).pvalue > 1e-3

    if level == 0:
        assert (counts == 0).all()
        return
    assert fits(rate)
    assert not fits(rate * 1.05 + 0.1)


def test_impulse_noise_replaces_values_by_black_and_white():
    out = draw(noise.impulse_noise, 0.4, 5)
    for value in (0.0, 1.0):
        share = (out == value).mean()
        assert stats.binomtest(int(share * N), N, 0.035).pvalue > 1e-3
        assert stats.binomtest(int(share * N), N, 0.045).pvalue < 1e-3
    assert np.isclose(out[(out != 0) & (out != 1)], 0.4).all()


def test_impulse_noise_hits_channels_independently():
    images = jnp.full((60, 32, 32, 3), 0.4)
    changed = np.asarray(corruptions.corrupt("impulse_noise", jax.random.key(0), images, 5))
    hit = np.abs(changed - np.round(0.4 * 255) / 255) > 1e-3
    per_pixel = hit.any(axis=-1).mean()
    np.testing.assert_allclose(per_pixel, 1 - (1 - 0.07) ** 3, rtol=0.03)


@pytest.mark.parametrize(("size", "decay"), [(16, 3.0), (12, 1.75)])
def test_plasma_is_the_diamond_square_of_its_draws(size, decay):
    side = 16
    key = jax.random.key(1)
    got = np.asarray(
        jax.jit(weather.plasma, static_argnums=(1, 2))(key, 2, size, jnp.float32(decay))
    )
    draws = np.asarray(
        jax.random.uniform(jax.random.key(1), (2, side**2 - 1), minval=-1.0, maxval=1.0), np.float64
    )
    for image in range(2):
        height, step, wibble, used = np.zeros((side, side)), side, 100.0, 0
        while step >= 2:
            half, count = step // 2, side // step
            amounts = draws[image, used : used + 3 * count**2].reshape(3, count, count) * wibble**2
            used += 3 * count**2
            for i in range(count):
                for j in range(count):
                    y, x = i * step, j * step
                    corners = [
                        height[(y + a) % side, (x + b) % side] for a in (0, step) for b in (0, step)
                    ]
                    height[y + half, x + half] = np.mean(corners) + amounts[0, i, j]
            for i in range(count):
                for j in range(count):
                    y, x = i * step, j * step
                    top = [height[y, x], height[y, (x + step) % side]]
                    top += [height[y + half, x + half], height[y - half, x + half]]
                    left = [height[y, x], height[(y + step) % side, x]]
                    left += [height[y + half, x + half], height[y + half, x - half]]
                    height[y, x + half] = np.mean(top) + amounts[1, i, j]
                    height[y + half, x] = np.mean(left) + amounts[2, i, j]
            step, wibble = half, wibble / decay
        height = (height - height.min()) / (height.max() - height.min())
        np.testing.assert_allclose(got[image], height[:size, :size], atol=2e-5)


def test_fog_keeps_the_brightest_value_in_range():
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 0.8, (4, 16, 16, 3)), jnp.float32)
    out = np.asarray(compiled(weather.fog)(jax.random.key(0), images, jnp.int32(5)))
    top = np.asarray(images).max(axis=(1, 2, 3))
    assert (out.max(axis=(1, 2, 3)) <= top + 1e-6).all()
    # The plasma's minimum is 0 and its maximum 1, so thickness c leaves x m / (m + c) ... + c.
    black = np.asarray(compiled(weather.fog)(jax.random.key(0), images * 0 + 1.0, jnp.int32(5)))
    np.testing.assert_allclose(black.min(axis=(1, 2, 3)), 1 / 2.5, atol=1e-5)
    np.testing.assert_allclose(black.max(axis=(1, 2, 3)), 1.0, atol=1e-5)


@pytest.mark.parametrize("severity", [1, 4])
def test_snow_layer_is_symmetric_and_covers_as_the_recipe(severity):
    mean, deviation, zoom, threshold = CIFAR["snow"][severity - 1][:4]
    mix = CIFAR["snow"][severity - 1][-1]
    grey = 0.2
    images = jnp.full((64, 32, 32, 1), grey, jnp.float32)
    out = np.asarray(compiled(weather.snow)(jax.random.key(0), images, jnp.int32(severity)))
    base = mix * grey + (1 - mix) * max(grey, 1.5 * grey + 0.5)
    added = out[..., 0] - base
    np.testing.assert_allclose(added, added[:, ::-1, ::-1], atol=1e-6)
    # A streak moves light but makes none: the mean is twice that of the thresholded layer.
    rng = np.random.default_rng(0)
    crop = int(np.ceil(32 / zoom))
    layer = np.stack(
        [ndimage.zoom(rng.normal(mean, deviation, (crop, crop)), zoom, order=1) for _ in range(600)]
    )
    trim = (layer.shape[1] - 32) // 2
    layer = layer[:, trim : trim + 32, trim : trim + 32]
    layer = np.clip(np.where(layer < threshold, 0, layer), 0, 1)
    # ... but for the truncations to 8 bits, of the layer and of the streaks.
    got, want = added.mean(), 2 * layer.mean()
    assert want - 3.0 / 255 < got < want


def test_procedural_frost_has_the_photographs_moments():
    sample = np.asarray(
        jax.jit(frost.synthesise, static_argnums=(1, 2))(jax.random.key(0), 600, 32), np.float64
    )
    assert sample.shape == (600, 32, 32, 3)
    want = np.asarray(frost.STATISTICS)
    np.testing.assert_allclose(sample.mean(axis=(0, 1, 2)), want[:, :3].mean(axis=0), atol=0.03)
    contrast = sample.mean(axis=-1).std(axis=(1, 2)).mean()
    np.testing.assert_allclose(contrast, want[:, 4].mean(), rtol=0.1)


@pytest.fixture
def photographs(tmp_path):
    """Five synthetic photographs whose red channel tells the row and green the column."""
    for index, name in enumerate(frost.PHOTOGRAPHS):
        row, col = np.mgrid[:200, : 220 + 10 * index].astype(np.uint8)
        blue = np.full_like(row, 50 * index)
        picture = Image.fromarray(np.stack([row, col, blue], axis=-1))
        picture.save(tmp_path / name, quality=100, subsampling=0)
    return tmp_path


def test_photographs_are_shrunk_and_cropped(photographs):
    textures = corruptions.load_textures(photographs, size=32)
    assert textures.images.shape == (5, 40, 52, 3)
    np.testing.assert_array_equal(textures.sizes[:, 0], 40)
    np.testing.assert_array_equal(textures.sizes[:, 1], [44, 46, 48, 50, 52])
    # Shrinking by five reads the middle pixel of five: 5 i + 2.
    np.testing.assert_allclose(
        np.asarray(textures.images[0, :, 0, 0]) * 255, 5 * np.arange(40) + 2, atol=1
    )
    crops = (
        np.asarray(jax.jit(frost.crop, static_argnums=(2, 3))(jax.random.key(0), textures, 200, 32))
        * 255
    )
    assert set(np.round(crops[:, 0, 0, 2] / 50)) == {0, 1, 2, 3, 4}
    np.testing.assert_allclose(np.diff(crops[..., 0], axis=1), 5, atol=3)
    assert crops[..., 0].max() <= 5 * 39 + 3  # never the padding
    assert crops[..., 0].min() >= 0
    assert len(np.unique(np.round(crops[:, 0, 0, 0]))) > 4


def test_frost_adds_the_weighted_texture(photographs):
    textures = corruptions.load_textures(photographs, size=32)
    images = jnp.full((3, 32, 32, 3), 0.2)
    out = corruptions.corrupt("frost", jax.random.key(0), images, 3, frost_textures=textures)
    step = np.diff(np.asarray(out)[..., 0] * 255, axis=1)
    np.testing.assert_allclose(step.mean(), 5 * 0.4, atol=0.05)
    assert corruptions.frost_source(textures) == "photographs"
    assert corruptions.frost_source(None) == "procedural"


def test_frost_refusals(photographs):
    with pytest.raises(ValueError, match=r"size = 40: must be below 40"):
        corruptions.load_textures(photographs, size=40)
    (photographs / "frost3.png").unlink()
    with pytest.raises(ValueError, match=r"frost_dir = .*must hold frost1.png"):
        corruptions.load_textures(photographs)
    with pytest.raises(ValueError, match="table = 'x'"):
        corruptions.load_textures(photographs, table="x")
