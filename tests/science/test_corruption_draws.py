"""The noises: their distribution at each intensity, the scale typed; fog's range; truncation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as stats

from varmixup_jax import corruptions
from varmixup_jax.corruptions import noise, weather
from varmixup_jax.corruptions.severity_tables import CIFAR  # under test: every scale below is typed

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


NEAR_MISSES = (2 / 3, 1.1, 3 / 2)


@pytest.mark.parametrize(("severity", "scale"), [(1, 0.04), (3, 0.08), (5, 0.10)])
def test_gaussian_noise_has_its_deviation(severity, scale):
    sample = draw(noise.gaussian_noise, 0.4, severity)
    assert is_normal(sample, 0.4, scale)
    for factor in NEAR_MISSES:
        assert not is_normal(sample, 0.4, factor * scale)
    assert not is_normal(sample, 0.4 + 0.1 * scale, scale)


@pytest.mark.parametrize(("severity", "scale"), [(1, 0.06), (4, 0.16)])
@pytest.mark.parametrize("value", [0.25, 1.0])
def test_speckle_noise_is_proportional_to_the_intensity(value, severity, scale):
    sample = draw(noise.speckle_noise, value, severity)
    assert is_normal(sample, value, scale * value)
    for factor in NEAR_MISSES:
        assert not is_normal(sample, value, factor * scale * value)


@pytest.mark.parametrize("level", [0, 3, 20, 128, 255])
@pytest.mark.parametrize(("severity", "photons"), [(1, 500), (5, 50)])
def test_shot_noise_counts_are_poisson(level, severity, photons):
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
    # Brightness is kept: the mean is x, the variance x / c.
    shares = counts / photons
    x = level / 255
    np.testing.assert_allclose(shares.mean(), x, atol=4 * np.sqrt(x / photons / N))
    np.testing.assert_allclose(shares.var(), x / photons, rtol=0.15)


@pytest.mark.parametrize(("severity", "amount"), [(3, 0.03), (5, 0.07)])
def test_impulse_noise_replaces_values_by_black_and_white(severity, amount):
    out = draw(noise.impulse_noise, 0.4, severity)
    for value in (0.0, 1.0):
        count = int((out == value).sum())
        assert stats.binomtest(count, N, amount / 2).pvalue > 1e-3
        for factor in (2 / 3, 3 / 2):
            assert stats.binomtest(count, N, factor * amount / 2).pvalue < 1e-3
    assert np.isclose(out[(out != 0) & (out != 1)], 0.4).all()


def test_impulse_noise_hits_channels_independently():
    images = jnp.full((60, 32, 32, 3), 0.4)
    changed = np.asarray(corruptions.corrupt(jax.random.key(0), "impulse_noise", images, 5))
    hit = np.abs(changed - np.round(0.4 * 255) / 255) > 1e-3
    per_pixel = hit.any(axis=-1).mean()
    np.testing.assert_allclose(per_pixel, 1 - (1 - 0.07) ** 3, rtol=0.03)


def test_fog_keeps_the_brightest_value_in_range():
    images = jnp.asarray(np.random.default_rng(0).uniform(0, 0.8, (4, 16, 16, 3)), jnp.float32)
    out = np.asarray(compiled(weather.fog)(jax.random.key(0), images, jnp.int32(5)))
    top = np.asarray(images).max(axis=(1, 2, 3))
    assert (out.max(axis=(1, 2, 3)) <= top + 1e-6).all()
    # The plasma's minimum is 0 and its maximum 1, so thickness c leaves x m / (m + c) ... + c.
    black = np.asarray(compiled(weather.fog)(jax.random.key(0), images * 0 + 1.0, jnp.int32(5)))
    np.testing.assert_allclose(black.min(axis=(1, 2, 3)), 1 / 2.5, atol=1e-5)
    np.testing.assert_allclose(black.max(axis=(1, 2, 3)), 1.0, atol=1e-5)


def test_what_is_written_is_truncated():
    images = jnp.full((60, 32, 32, 3), 102 / 255)
    out = corruptions.corrupt(jax.random.key(0), "gaussian_noise", images, 5)
    levels = np.asarray(out, np.float64) * 255
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)
    # Half a level is lost on average; rounding would lose none. Standard error 0.06.
    np.testing.assert_allclose(levels.mean(), 102 - 0.5, atol=0.25)
