"""Adversarial accuracy of linear classifiers, whose margin tells the truth."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.attacks.pgd import l2, linf
from varmixup_jax.evaluation.robustness import (
    apgd_correct,
    is_correct,
    pgd_correct,
    worst_case,
)

B, SIDE, K = 64, 4, 2
RADIUS = 0.05


def linear(weight, bias, image):
    return jnp.reshape(image, (image.shape[0], -1)) @ weight + bias[None]


@pytest.fixture
def key():
    """Of a generator whose programs compile in a third of the time on CPU."""
    return jax.random.key(0, impl="rbg")


@pytest.fixture
def problem():
    """A two-class linear classifier on images away from 0 and 1, and each example's margin.

    Returns (image, label, weight, bias), margins, and the direction between the classes.
    """
    rng = np.random.default_rng(4)
    image = rng.uniform(0.3, 0.7, size=(B, SIDE, SIDE, 1)).astype(np.float32)
    weight = rng.normal(size=(SIDE * SIDE, K)).astype(np.float32)
    bias = -(image.reshape(B, -1) @ weight).mean(axis=0)

    scores = np.asarray(linear(weight, bias, image))
    label = np.eye(K, dtype=np.float32)[scores.argmax(axis=1)]
    label[:5] = 1 - label[:5]  # five are wrong already
    direction = weight[:, 0] - weight[:, 1]
    margin = (label * scores).sum(axis=1) - ((1 - label) * scores).sum(axis=1)
    return (jnp.asarray(image), jnp.asarray(label), weight, bias), margin, direction


ATTACKS = {
    "pgd": partial(pgd_correct, step_size=0.02),
    "apgd": partial(apgd_correct, losses=("ce",), steps=20),
}


@functools.cache
def compiled(name, ball):
    """One program for all radii."""

    @jax.jit
    def correct(key, image, label, weight, bias, radius):
        logits = partial(linear, weight, bias)
        return ATTACKS[name](logits, image, label, key=key, ball=ball(radius))

    return correct


@pytest.mark.parametrize(("ball", "order"), [(linf, 1), (l2, 2)])
@pytest.mark.parametrize("name", ATTACKS)
def test_correct_exactly_where_the_margin_exceeds_the_reach(key, problem, name, ball, order):
    arguments, margin, direction = problem
    radius = RADIUS if order == 1 else 4 * RADIUS
    correct = np.asarray(compiled(name, ball)(key, *arguments, radius))
    reach = radius * np.linalg.norm(direction, ord=order)
    clear = np.abs(margin - reach) > 1e-2 * reach
    np.testing.assert_array_equal(correct[clear], (margin > reach)[clear])
    assert clear.sum() > 0.9 * B
    assert 0 < correct.sum() < B - 5


@pytest.mark.parametrize("ball", [linf, l2])
@pytest.mark.parametrize("name", ATTACKS)
def test_radius_zero_is_clean_accuracy(key, problem, name, ball):
    arguments, *_ = problem
    image, label, weight, bias = arguments
    correct = compiled(name, ball)(key, *arguments, 0.0)
    np.testing.assert_array_equal(correct, is_correct(linear(weight, bias, image), label))
    assert correct.sum() == B - 5


def test_a_nan_prediction_is_wrong():
    logits = jnp.array([[jnp.nan, 0.0], [1.0, 0.0]])
    label = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(is_correct(logits, label), [False, True])


def test_refusals(key, problem):
    with pytest.raises(ValueError, match="needs at least one attack"):
        worst_case()
    (image, label, weight, bias), *_ = problem
    logits = partial(linear, weight, bias)
    with pytest.raises(ValueError, match="losses = 'cw': must be one of ce, dlr"):
        apgd_correct(logits, image, label, key=key, losses=("cw",))
    with pytest.raises(ValueError, match="needs at least one of ce, dlr"):
        apgd_correct(logits, image, label, key=key, losses=())
    with pytest.raises(ValueError, match="restarts = 0: must be a whole number >= 1"):
        pgd_correct(logits, image, label, key=key, restarts=0)
    with pytest.raises(TypeError, match="image: dtype is uint8"):
        pgd_correct(logits, image.astype(jnp.uint8), label, key=key)
