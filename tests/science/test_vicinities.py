"""Every vicinity against its equation in NumPy's float64 (`METHODS.md`, section 1).

The labels are the identity, so that a sample's label shows its weights; see `small_net.py`. Through
the registered methods, with cached latents and augmentation, they are in `test_objectives.py` too.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import operations
import pytest
import small_net as net
from small_net import BATCH, CACHED, IMAGE, LABEL, decode, encode, pairing_of

from varmixup_jax.types import Draw, Env
from varmixup_jax.vicinal import augmix, hidden, mixing

ENV = Env(None, lambda image: encode("standard", image), lambda code: decode("standard", code))
DRAW = Draw(jnp.asarray(IMAGE), jnp.asarray(LABEL))
X, Z = IMAGE.astype(np.float64), CACHED.astype(np.float64)


def reconstructed(image):
    return decode("standard", encode("standard", image))


def random_key(seed):
    return jax.random.key(seed, impl="rbg")


def sample(vicinity, draw=DRAW, env=ENV, seed=0):
    return vicinity(random_key(seed), env, draw)


def mixed(matrix, points):
    return np.einsum("ij,j...->i...", matrix, points)


def test_dirac_is_the_batch():
    assert sample(mixing.dirac) is DRAW


SPACES = {
    # (space, equation of an un-cached batch, equation of cached latents z)
    "pixels": (mixing.pixels, lambda m: mixed(m, X), lambda m: mixed(m, X)),
    "latents": (
        mixing.latents,
        lambda m: decode("standard", mixed(m, encode("standard", X))),
        lambda m: decode("standard", mixed(m, Z)),
    ),
    "reconstructions": (
        mixing.reconstructions,
        lambda m: mixed(m, reconstructed(X)),
        lambda m: mixed(m, decode("standard", Z)),
    ),
    "reconstructed_mix": (
        mixing.reconstructed_mix,
        lambda m: reconstructed(mixed(m, X)),
        lambda m: reconstructed(mixed(m, X)),
    ),
}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("lam", ["batch", "example"])
def test_mix_in_every_space(space, lam):
    place, plain, cached = SPACES[space]
    for draw, equation in ((DRAW, plain), (DRAW._replace(latent=jnp.asarray(CACHED)), cached)):
        out = sample(mixing.mix(place, lam=lam), draw)
        matrix = np.asarray(out.label, np.float64)
        weights, _ = pairing_of(matrix)
        weights = weights[~np.isnan(weights)]
        assert (np.ptp(weights) < 1e-6) == (lam == "batch")
        np.testing.assert_allclose(out.image, equation(matrix), atol=1e-5)
        # No two images alike: what a decoder makes of two latents must not pass for one another.
        assert min(np.abs(a - b).max() for a, b in pairwise(out.image)) > 0.01
        assert out.latent is None


@pytest.mark.parametrize("space", ["latents", "reconstructions"])
def test_what_is_decoded_from_the_cache_is_augmented_with_a_key_of_its_own(space):
    keys = []

    def augment(key, image):
        keys.append(tuple(jax.random.key_data(key).tolist()))
        return image[:, ::-1, ::-1]

    env, vicinity = ENV._replace(augment=augment), mixing.mix(SPACES[space][0])
    for seed in (0, 1):
        cached = DRAW._replace(latent=jnp.asarray(CACHED))
        out = sample(vicinity, cached, env, seed)
        expected = SPACES[space][2](np.asarray(out.label, np.float64))
        np.testing.assert_allclose(out.image, expected[:, ::-1, ::-1], atol=1e-5)
        # What is encoded here is of an augmented image already.
        sample(vicinity, DRAW, env, seed)
    assert len(set(keys)) == len(keys) == 2


def test_no_mixing_is_exact():
    np.testing.assert_array_equal(sample(mixing.mix(alpha=0.0)).image, IMAGE)


def test_partners_are_a_uniform_permutation():
    draws = jax.jit(jax.vmap(lambda key: mixing.draw_pairing(key, 3, 1.0)))
    partners, lam = draws(jax.random.split(jax.random.key(0), 3000))
    kinds, counts = np.unique(np.asarray(partners), axis=0, return_counts=True)
    assert len(kinds) == 6  # those with fixed points among them
    assert np.abs(counts - 500).max() < 5 * np.sqrt(3000 * (1 / 6) * (5 / 6))
    # lambda ~ Beta(1, 1) is uniform, whatever the partners.
    assert np.abs(np.histogram(lam[:, 0], 5, (0, 1))[0] - 600).max() < 5 * np.sqrt(3000 * 0.16)
    first = np.asarray(lam)[(np.asarray(partners) == kinds[0]).all(axis=1), 0]
    assert abs(first.mean() - 0.5) < 5 / np.sqrt(12 * len(first))


def test_several_partners_are_weighted_alike_in_the_whole_batch():
    out = sample(mixing.mix(mixing.latents, partners=2), seed=1)
    matrix = np.asarray(out.label, np.float64)
    np.testing.assert_allclose(out.image, SPACES["latents"][1](matrix), atol=1e-5)
    np.testing.assert_allclose(matrix.sum(axis=0), 1.0, atol=1e-5)  # permutations
    rows = [np.sort(row[row > 1e-6]) for row in matrix if (row > 1e-6).sum() == 3]
    assert len(rows) >= 2
    np.testing.assert_allclose(rows, [rows[0]] * len(rows), atol=1e-5)


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("lam", ["batch", "example"])
def test_mix_hidden_at_each_stage(stage, lam):
    values = np.random.default_rng(1).normal(size=(BATCH, 2, 3)).astype(np.float32)
    doubled = DRAW._replace(tap=lambda k, h: 2.0 * h)  # an earlier vicinity's tap comes first
    out = sample(hidden.mix_hidden((stage,), lam=lam), doubled)
    matrix = np.asarray(out.label, np.float64)
    weights, _ = pairing_of(matrix)
    assert (np.nanmax(weights) - np.nanmin(weights) < 1e-6) == (lam == "batch")
    for k in range(4):
        expected = mixed(matrix, 2 * values) if k == stage else 2 * values
        np.testing.assert_allclose(out.tap(k, values), expected, atol=1e-5)
    assert out.image is DRAW.image


@pytest.mark.parametrize("vicinity", [hidden.mix_hidden, hidden.noisy_hidden])
def test_the_stage_is_uniform_over_the_given_ones(vicinity):
    stages = jax.jit(jax.vmap(lambda key: vicinity((1, 3))(key, ENV, DRAW).stage))
    seen = np.asarray(stages(jax.random.split(random_key(0), 800)))
    assert set(seen.tolist()) == {1, 3}
    assert abs((seen == 1).sum() - 400) < 5 * np.sqrt(200)


def test_noise_is_normal_and_new_for_every_number():
    size = (100, 100)
    noisy = hidden.noisy_hidden((2,), additive=0.3, multiplicative=0.05)
    zeros, ones = np.zeros(size, np.float32), np.ones(size, np.float32)
    first, second = sample(noisy, seed=0), sample(noisy, seed=1)
    additive = np.asarray(first.tap(2, zeros)) / 0.3
    multiplied = (np.asarray(first.tap(2, ones)) - np.asarray(first.tap(2, zeros)) - 1) / 0.05
    for drawn in (additive, multiplied):
        assert abs(drawn.mean()) < 5 / 100
        assert abs(drawn.var() - 1) < 5 * np.sqrt(2) / 100
        # The fourth moment: 3; of a uniform variable 1.8, of random signs 1.
        assert abs((drawn**4).mean() - 3) < 5 * np.sqrt(96) / 100
        # Neither shared along an axis nor between examples.
        assert np.abs(drawn.mean(axis=0)).max() < 0.6
        assert np.abs(drawn.mean(axis=1)).max() < 0.6
    others = (multiplied, np.asarray(second.tap(2, zeros)) / 0.3)
    for other in others:
        assert abs((additive * other).mean()) < 5 / 100
    np.testing.assert_array_equal(first.tap(1, ones), ones)


def test_a_chain_goes_in_order_with_a_key_for_each():
    keys = []

    def record(change):
        def vicinity(key, env, draw):
            keys.append(tuple(jax.random.key_data(key).tolist()))
            return draw._replace(image=change(draw.image))

        return vicinity

    steps = (record(lambda x: x + 1), record(lambda x: 2 * x), record(lambda x: x * x))
    np.testing.assert_allclose(sample(mixing.chain(*steps)).image, (2 * (X + 1)) ** 2, rtol=1e-6)
    assert len(set(keys)) == 3


# Three images, two chains each, of up to three operations and their strengths in [-10, 10].
CHAINS = [
    [[("rotate", 8.0), ("autocontrast", 1.0)], [("posterize", 6.0)]],
    [[("solarize", 4.0), ("shear_x", -7.0), ("translate_y", 9.0)], [("equalize", 1.0)]],
    [[("shear_y", 5.0)], [("translate_x", -9.5), ("rotate", -6.0), ("solarize", 7.0)]],
]


def test_augmix_against_numpy(monkeypatch):
    pictures = np.random.default_rng(3).uniform(0.1, 0.8, (3, 20, 16, 3)).astype(np.float32)
    weights = np.array([[0.3, 0.7], [0.9, 0.1], [0.5, 0.5]], np.float32)
    amounts = np.array([0.2, 0.6, 1.0], np.float32)
    names = [[[name for name, _ in chain] for chain in chains] for chains in CHAINS]
    number = np.zeros((3, 2, 3), np.int32)
    strength = np.zeros((3, 2, 3), np.float32)
    rests = np.ones((3, 2, 3), bool)
    for i, j in np.ndindex(3, 2):
        for k, (name, value) in enumerate(CHAINS[i][j]):
            number[i, j, k], strength[i, j, k] = augmix.OPERATIONS.index(name), value
            rests[i, j, k] = False

    def draw_plan(key, shape, severity, size):
        assert (shape, severity, size) == ((3, 2, 3), 5.0, (20, 16))
        plan = augmix.plan_of(jnp.asarray(number), jnp.asarray(strength), *size)
        return plan._replace(branch=jnp.where(rests, 0, plan.branch))

    def draw_amounts(key, batch, chains, alpha):
        assert (batch, chains, alpha) == (3, 2, 0.5)
        return jnp.asarray(weights), jnp.asarray(amounts)

    monkeypatch.setattr(augmix, "draw_plan", draw_plan)
    monkeypatch.setattr(augmix, "draw_amounts", draw_amounts)
    vicinity = augmix.augmix(severity=5.0, alpha=0.5, chains=2, depth=3)
    draw = Draw(jnp.asarray(pictures), jnp.eye(3), latent=jnp.zeros((3, 2)))
    out = sample(vicinity, draw)
    for i, chains in enumerate(CHAINS):
        x = pictures[i].astype(np.float64)
        mixture = np.zeros_like(x)
        for weight, chain in zip(weights[i], chains, strict=True):
            image = x
            for name, value in chain:
                image = operations.OPERATIONS[name](image, value)
            mixture += weight * image
        expected = (1 - amounts[i]) * x + amounts[i] * mixture
        np.testing.assert_allclose(out.image[i], expected, atol=1e-4, err_msg=str(names[i]))
        assert np.abs(expected - x).max() > 0.05
    assert out.label is draw.label
    assert out.latent is None


def test_the_net_of_these_tests_is_the_same_twice():
    ours, stats = net.apply(net.PARAMS, net.STATS, jnp.asarray(IMAGE), train=True)
    expected, after = net.forward(net.PARAMS, net.STATS, IMAGE, train=True)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(stats["var"], after["var"], rtol=1e-5)
