"""An attack as a vicinity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attack_toys import SHAPE

from varmixup_jax import losses
from varmixup_jax.attacks.pgd import (
    attack,
    gaussian_start,
    linf,
)
from varmixup_jax.types import Draw, Env, identity_tap


@pytest.fixture
def draw(image):
    label = jax.nn.one_hot(jnp.arange(SHAPE[0]) % 3, 3)
    return Draw(image, label, latent=jnp.zeros((SHAPE[0], 2)))


@pytest.fixture
def env():
    weight = jnp.asarray(np.random.default_rng(7).normal(size=(48, 3)), jnp.float32)
    return Env(lambda image: jnp.reshape(image, (image.shape[0], -1)) @ weight)


@pytest.mark.parametrize("distance", [losses.ce, losses.kl_to_clean])
def test_attack_is_a_vicinity_that_raises_its_distance(key, env, draw, distance):
    start = gaussian_start(0.001)
    vicinity = attack(distance, ball=linf(0.1), steps=5, step_size=0.05, start=start)
    sample = vicinity(key, env, draw)
    again = vicinity(jax.random.clone(key), env, draw)
    clean = env.logits(draw.image)

    def value(image):
        return distance(env.logits(image), draw.label, clean)

    assert np.all(value(sample.image) > value(draw.image))
    assert sample.latent is None
    assert sample.tap is identity_tap
    assert sample.label is draw.label
    assert sample.image.dtype == draw.image.dtype
    np.testing.assert_array_equal(again.image, sample.image)


def test_a_vicinity_prints_its_names_and_numbers():
    text = repr(attack(losses.ce, ball=linf(0.25), steps=7, step_size=0.125))
    for word in ("ce", "Linf(radius=0.25)", "steps=7", "step_size=0.125", "uniform_start"):
        assert word in text
