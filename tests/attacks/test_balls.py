"""Balls, their projections and the starting points of attacks."""

import jax.numpy as jnp
import numpy as np
import pytest
from attack_toys import BALLS, flat

from varmixup_jax.attacks.pgd import (
    gaussian_start,
    l2,
    linf,
    uniform_start,
)


def test_uniform_start_is_uniform_in_the_linf_ball(key):
    delta = np.ravel(uniform_start(key, linf(0.2), (200, 10, 10, 1)))

    def looks_uniform(sample):
        ordered = np.sort(sample)
        edges = (ordered + 0.2) / 0.4
        rank = (np.arange(sample.size) + 0.5) / sample.size
        return np.abs(edges - rank).max() < 1.63 / np.sqrt(sample.size)  # Kolmogorov, 1 %

    assert looks_uniform(delta)
    assert not looks_uniform(0.97 * delta)


def test_l2_sample_is_uniform_in_the_ball(key):
    delta = flat(l2(0.2).sample(key, (4000, 2, 2, 1), jnp.float32))
    # In n = 4 dimensions (|delta| / radius)^4 is uniform, and the direction has mean 0.
    quantile = np.sort((np.linalg.norm(delta, axis=1) / 0.2) ** 4)
    rank = (np.arange(4000) + 0.5) / 4000
    assert np.abs(quantile - rank).max() < 1.63 / np.sqrt(4000)
    assert np.abs(np.sqrt(quantile) - rank).max() > 1.63 / np.sqrt(4000)
    np.testing.assert_allclose(delta.mean(axis=0), 0.0, atol=4 * 0.2 / np.sqrt(4 * 4000))


def test_gaussian_start_has_the_scale_asked_for(key):
    delta = gaussian_start(0.001)(key, linf(0.1), (100, 10, 10, 1))
    error = 4 / np.sqrt(2 * delta.size)
    assert abs(float(jnp.std(delta)) / 0.001 - 1) < error
    assert "0.001" in repr(gaussian_start(0.001))


@pytest.mark.parametrize("kind", BALLS)
def test_projection_is_the_nearest_point(key, kind):
    ball = BALLS[kind](0.3)
    delta = jnp.asarray(0.5 * np.random.default_rng(4).normal(size=(6, 3, 3, 1)), jnp.float32)
    nearest = flat(ball.project(delta))
    distance = np.linalg.norm(flat(delta) - nearest, axis=1)
    others = np.asarray(ball.sample(key, (200, 9), jnp.float32))
    to_others = np.linalg.norm(flat(delta)[:, None] - others[None], axis=-1)
    assert np.all(distance[:, None] <= to_others + 1e-6)
    np.testing.assert_allclose(ball.project(jnp.asarray(nearest, jnp.float32)), nearest, atol=1e-7)
    inside = 0.001 * delta
    np.testing.assert_array_equal(ball.project(inside), inside)


@pytest.mark.parametrize("scale", [1.0, 1e-25, 0.0])
def test_l2_ascent_survives_tiny_gradients(scale):
    grad = jnp.asarray(scale * np.random.default_rng(4).normal(size=(4, 3, 3, 2)), jnp.float32)
    norms = np.linalg.norm(flat(l2(1.0).ascent(grad)), axis=1)
    np.testing.assert_allclose(norms, 1.0 if scale else 0.0, rtol=1e-6)


def test_balls_of_different_norms_are_different_settings():
    assert linf(0.1) == linf(0.1)
    assert linf(0.1) != l2(0.1)
    assert repr(linf(0.5)) == "Linf(radius=0.5)"
