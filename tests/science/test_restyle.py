"""Latent style against its equation in NumPy's float64 (`METHODS.md`, section 1.1).

The decoder gives latents back, so that a sample *is* z'. A partner and an amount are read off the mean
of each channel, (1 - a) m + a m_j; standard deviations and the grid itself are what must then follow.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.types import Draw, Env
from varmixup_jax.vicinal.mixing import mix
from varmixup_jax.vicinal.restyle import restyle, restyled

BATCH, CHANNELS = 6, 4
EPSILON = 1e-5
_rng = np.random.default_rng(0)
# Means and scales that differ from example to example and from channel to channel.
Z = (
    _rng.normal(size=(BATCH, 3, 5, CHANNELS)) * _rng.uniform(0.5, 3, (BATCH, 1, 1, CHANNELS))
    + 4 * _rng.normal(size=(BATCH, 1, 1, CHANNELS))
).astype(np.float32)
DRAW = Draw(jnp.zeros((BATCH, 3, 5, CHANNELS)), jnp.eye(BATCH), latent=jnp.asarray(Z))
ENV = Env(None, encode=lambda image: image, decode=lambda latent: latent)


@functools.cache
def compiled(**settings):
    def fn(key):
        out = restyle(**settings)(key, ENV, DRAW)
        return out.image, out.label

    return jax.jit(fn)


def sample(seed=0, **settings):
    image, label = compiled(**settings)(jax.random.key(seed))
    return Draw(image, label)


def moments(z):
    z = np.asarray(z, np.float64)
    mean = z.mean(axis=(1, 2))
    return mean, np.sqrt(((z - mean[:, None, None]) ** 2).mean(axis=(1, 2)) + EPSILON)


MEAN, STD = moments(Z)


def styled(i, mean, std, amount, channels=slice(None)):
    """The equation for one example."""
    z = Z[i, ..., channels].astype(np.float64)
    moved = (z - MEAN[i, channels]) / STD[i, channels] * std + mean
    return (1 - amount) * z + amount * moved


def drawn(image, channels=slice(None)):
    """(partner, amount) of every example, found by trying all partners; whatever is left over fails."""
    found = []
    for i, out in enumerate(np.asarray(image, np.float64)):
        mean = out.mean(axis=(0, 1))[channels] - MEAN[i, channels]
        fits = [(np.abs(mean).max(), i, 0.0)]
        for j in set(range(BATCH)) - {i}:
            way = MEAN[j, channels] - MEAN[i, channels]
            amount = float(way @ mean / (way @ way))
            fits.append((np.abs(mean - amount * way).max(), j, amount))
        left, j, amount = min(fits) if fits[0][0] > 1e-5 else fits[0]
        assert left < 1e-4
        expected = styled(i, MEAN[j, channels], STD[j, channels], amount, channels)
        np.testing.assert_allclose(out[..., channels], expected, atol=2e-4)
        found.append((j, amount))
    return found


def amounts(seeds, channels=slice(None), **settings):
    """The amounts of many draws, without those of examples that are their own partners."""
    seen = [drawn(sample(seed, **settings).image, channels) for seed in range(seeds)]
    return np.array([a for one in seen for i, (j, a) in enumerate(one) if i != j])


@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_every_example_takes_on_a_partners_statistics_and_keeps_its_label(strength):
    partners, seeds = [], 40
    for seed in range(seeds):
        out = sample(seed, strength=strength)
        np.testing.assert_array_equal(out.label, DRAW.label)
        assert out.latent is None
        partners.append([j for j, _ in drawn(out.image)])
    # An own partner moves nothing, so it passes for any: the others are no two the same.
    others = [[j for i, j in enumerate(row) if i != j] for row in partners]
    assert all(len(set(row)) == len(row) for row in others)
    assert len({tuple(row) for row in partners}) > seeds / 2
    a = amounts(seeds, strength=strength)
    assert a.min() > -1e-4
    assert a.max() < strength + 1e-4
    # U(0, strength): mean 1/2 and standard deviation 1/sqrt(12) of it, from 200 draws.
    assert abs(a.mean() / strength - 0.5) < 0.08
    assert abs(a.std() / strength - 12**-0.5) < 0.04


def test_amounts_differ_within_a_batch_and_are_constant_where_asked():
    first = [a for i, (j, a) in enumerate(drawn(sample().image)) if i != j]
    assert np.ptp(first) > 0.1
    np.testing.assert_allclose(amounts(8, amount="constant", strength=0.7), 0.7, atol=1e-4)


def test_arcsine_is_a_beta_of_one_half():
    a = amounts(60, amount="arcsine")
    # Beta(1/2, 1/2): mean 1/2, standard deviation 1/sqrt(8); U(0, 1) has 1/sqrt(12) = 0.29.
    assert abs(a.mean() - 0.5) < 0.09
    assert abs(a.std() - 8**-0.5) < 0.03


def test_groups_of_channels_have_partners_and_amounts_of_their_own():
    for seed in range(5):
        image = sample(seed, groups=2).image
        one, other = (drawn(image, part) for part in (slice(0, 2), slice(2, 4)))
        assert [j for j, _ in one] != [j for j, _ in other]
        moved = [
            (a, b) for i, ((j, a), (k, b)) in enumerate(zip(one, other, strict=True)) if j != i != k
        ]
        assert all(abs(a - b) > 1e-4 for a, b in moved)


def test_styles_are_averaged_with_dirichlet_weights():
    weights = []
    for seed in range(40):
        image = np.asarray(sample(seed, styles=2, amount="constant").image, np.float64)
        for i, out in enumerate(image):
            mean, std = out.mean(axis=(0, 1)), out.std(axis=(0, 1))
            fits = []
            for j, k in itertools.combinations_with_replacement(range(BATCH), 2):
                way = MEAN[j] - MEAN[k]
                w = float(way @ (mean - MEAN[k]) / (way @ way)) if j != k else 1.0
                fits.append((np.abs(w * MEAN[j] + (1 - w) * MEAN[k] - mean).max(), j, k, w))
            left, j, k, w = min(fits)
            assert left < 1e-3
            target = w * STD[j] + (1 - w) * STD[k]
            np.testing.assert_allclose(std, target, atol=2e-3)
            np.testing.assert_allclose(out, styled(i, mean, target, 1.0), atol=5e-3)
            if 1e-3 < w < 1 - 1e-3:  # not the same partner twice
                weights.append(w)
    # Dirichlet(1, 1) is uniform: a fifth lies within 0.1 of the ends (normalised uniforms: a ninth).
    outer = np.mean(np.abs(np.array(weights) - 0.5) > 0.4)
    assert abs(outer - 0.2) < 0.05, outer


def test_no_strength_is_the_reconstruction_to_the_bit():
    np.testing.assert_array_equal(sample(strength=0.0).image, Z)


def test_a_channel_that_is_flat_stays_finite_and_takes_the_mean():
    flat = jnp.broadcast_to(jnp.arange(1.0, 7.0)[:, None, None, None], Z.shape)
    out = restyle(amount="constant")(jax.random.key(3), ENV, DRAW._replace(latent=flat)).image
    assert sorted(np.asarray(out)[:, 0, 0, 0].round(4)) == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(out, out[:, :1, :1] * np.ones_like(out), atol=1e-5)


def test_alpha_mixes_the_restyled_latents_and_their_labels():
    mixed = sample(5, alpha=1.0)
    alone = sample(5)  # the same key: the same partners and amounts of style
    expected = np.einsum("ij,j...->i...", np.asarray(mixed.label), np.asarray(alone.image))
    np.testing.assert_allclose(mixed.image, expected, atol=1e-4)
    assert np.abs(np.asarray(mixed.label) - np.eye(BATCH)).max() > 0.01
    by_hand = mix(restyled(), alpha=1.0)(jax.random.key(5), ENV, DRAW)
    np.testing.assert_allclose(mixed.image, by_hand.image, atol=1e-5)


def test_an_uncached_batch_is_encoded_and_a_cached_one_augmented_after_decoding():
    draw = DRAW._replace(image=jnp.asarray(Z), latent=None)
    flip = Env(None, ENV.encode, ENV.decode, lambda key, image: -image)
    vicinity = restyle()
    out = vicinity(jax.random.key(1), ENV, DRAW)
    assert out.latent is None
    expected = out.image
    np.testing.assert_array_equal(vicinity(jax.random.key(1), flip, draw).image, expected)
    np.testing.assert_array_equal(vicinity(jax.random.key(1), flip, DRAW).image, -expected)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"strength": 1.5}, "strength = 1.5: must lie in [0.0, 1.0]"),
        ({"amount": "normal"}, "amount = 'normal': "),
        ({"groups": 0}, "groups = 0: "),
        ({"styles": 101}, "styles = 101: must lie in [1, 100]"),
        ({"alpha": -1.0}, "alpha = -1.0: "),
        ({"groups": 3}, "groups = 3: must divide 4, the latent's channels"),
    ],
)
def test_what_it_refuses(settings, text):
    with pytest.raises(ValueError) as refusal:
        sample(**settings)
    assert str(refusal.value).startswith(text)


def test_a_vector_latent_has_no_style():
    draw = DRAW._replace(latent=jnp.zeros((BATCH, 8)))
    with pytest.raises(ValueError, match=r"latent: has shape \[6, 8\], style needs a grid"):
        restyle()(jax.random.key(0), ENV, draw)
