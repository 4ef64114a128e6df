"""Auto-PGD, DLR and adversarial accuracy against the papers, step by step in float64."""

from functools import partial

import attack_oracles as oracles
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import losses
from varmixup_jax.attacks.apgd import apgd, checkpoints
from varmixup_jax.attacks.pgd import l2, linf
from varmixup_jax.evaluation.robustness import apgd_correct, pgd_correct, worst_case

BALLS = {"linf": linf, "l2": l2}


def test_checkpoints_are_the_published_ones():
    assert checkpoints(100) == (0, 22, 41, 57, 70, 80, 87, 93, 99)
    for steps in (1, 2, 7, 20, 50, 75):
        assert list(checkpoints(steps)) == sorted(set(oracles.apgd_checkpoints(steps)))


def bumps(rng, count, size, scale):
    """Images, and a loss sum sin(a x + 1) with slopes of its own for each example."""
    image = rng.uniform(size=(count, 1, 1, size)).astype(np.float32)
    slope = (scale * rng.normal(size=(count, 1, 1, size))).astype(np.float32)

    def loss(image):
        return jnp.sum(jnp.sin(jnp.asarray(slope) * image + 1.0), axis=(1, 2, 3))

    def value_and_grad(index, point):
        a = slope[index].ravel().astype(np.float64)
        return np.sin(a * point + 1).sum(), a * np.cos(a * point + 1)

    return image, loss, value_and_grad


# What halves the step: condition 1 (few rises) alone, condition 2 (no better since) alone, or both.
FEW, STUCK = (True, False), (False, True)


@pytest.mark.parametrize(
    ("norm", "size", "scale", "radius", "rho", "alone"),
    [
        ("linf", 6, 9.0, 0.3, 0.75, [FEW]),
        ("linf", 6, 9.0, 0.3, 0.0, [STUCK]),  # no share of rises is too few
        ("l2", 2, 5.0, 0.1, 0.75, [FEW, STUCK]),
    ],
)
def test_apgd_follows_algorithm_1(key, norm, size, scale, radius, rho, alone):
    image, loss, value_and_grad = bumps(np.random.default_rng(1), 60, size, scale)
    run = partial(apgd, ball=BALLS[norm](radius), steps=20, rho=rho, start=flat_start)
    found = jax.jit(lambda key: run(key, image, loss))(key)
    halved = set()
    for i in range(len(image)):
        point, value, conditions = oracles.apgd(
            norm,
            image[i].ravel().astype(np.float64),
            partial(value_and_grad, i),
            delta=np.full(size, 0.01),
            radius=radius,
            steps=20,
            rho=rho,
        )
        halved.update(conditions)
        np.testing.assert_allclose(found.loss[i], value, rtol=1e-5, atol=1e-5, err_msg=str(i))
        # Around a maximum the loss is flat: the point is known to the root of its rounding.
        np.testing.assert_allclose(found.image[i].ravel(), point, atol=1e-3, err_msg=str(i))
    assert halved >= {*alone, (False, False)}


def flat_start(key, ball, shape):
    del key, ball
    return jnp.full(shape, 0.01, jnp.float32)


def dlr_by_hand(y, f):
    first, _, third = np.argsort(-f)[:3]
    other = max((k for k in range(len(f)) if k != y), key=lambda k: f[k])
    above, spread, unit = f[y] - f[other], f[first] - f[third], np.eye(len(f))
    slope = -(unit[y] - unit[other]) / spread + above * (unit[first] - unit[third]) / spread**2
    return -above / spread, slope


LOGITS = np.array(
    [
        [3.0, 1.0, -1.0, 0.0],  # right, and sure: -(3 - 1) / (3 - 0)
        [3.0, 1.0, -1.0, 0.0],  # the last class: -(0 - 3) / (3 - 0)
        [0.5, 0.25, 2.0, 1.75],
        [-7.0, -4.0, -9.0, -5.5],
    ]
)


def test_dlr_by_hand():
    y = np.array([0, 3, 3, 1])
    label = jnp.eye(4)[y]
    value = losses.dlr(jnp.asarray(LOGITS, jnp.float32), label)
    np.testing.assert_allclose(value, [-2 / 3, 1.0, 0.25 / 1.5, -1.5 / 3], rtol=1e-6)
    grad = jax.grad(lambda f: losses.dlr(f, label).sum())(jnp.asarray(LOGITS, jnp.float32))
    for row, target, found in zip(LOGITS, y, grad, strict=True):
        np.testing.assert_allclose(found, dlr_by_hand(target, row)[1], rtol=1e-5, atol=1e-7)


def test_dlr_is_invariant_and_positive_exactly_where_it_is_wrong():
    f = np.random.default_rng(2).normal(size=(50, 5)).astype(np.float32)
    label = np.eye(5, dtype=np.float32)[np.arange(50) % 5]
    found = losses.dlr(f, label)
    np.testing.assert_allclose(losses.dlr(100 * f + 7, label), found, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(found > 0, f.argmax(axis=1) != np.arange(50) % 5)
    assert np.isfinite(losses.dlr(np.zeros((1, 3), np.float32), np.eye(3, dtype=np.float32)[:1]))


def test_a_clean_mistake_counts_even_where_no_attacked_image_is_wrong(key):
    """Wrong at the clean image alone: an attack that looked at its ends only would miss it."""
    image = np.full((2, 1, 1, 1), 0.5, np.float32)
    label = np.eye(2, dtype=np.float32)[[0, 0]]

    def logits(x):
        wrong = (jnp.abs(x - 0.5) < 1e-6).reshape(-1, 1) & jnp.array([[True], [False]])
        return jnp.where(wrong, jnp.array([[0.0, 1.0]]), jnp.array([[1.0, 0.0]]))

    for correct in (pgd_correct, partial(apgd_correct, losses=("ce",))):
        found = correct(logits, image, label, key=jax.random.clone(key), ball=linf(0.1), steps=2)
        np.testing.assert_array_equal(found, [False, True])


def test_one_start_that_is_misclassified_suffices_though_its_loss_is_smaller(key):
    """Left: 0.45 against 0.55, wrong. Right: 0.2 of many, right, and of larger cross-entropy."""
    left = np.log([0.45, 0.55, *[1e-9] * 9])
    right = np.log([0.2, *[0.08] * 10])
    image, label = np.full((1, 1, 1, 1), 0.5, np.float32), np.eye(11, dtype=np.float32)[:1]

    def logits(x):
        side = x.reshape(-1, 1) < 0.4999
        return jnp.where(side, jnp.asarray(left, jnp.float32), jnp.asarray(right, jnp.float32))

    for restarts, expected in ((1, {True, False}), (20, {False})):
        run = partial(pgd_correct, ball=linf(0.1), steps=1, step_size=0.0, restarts=restarts)
        correct = jax.jit(lambda key, run=run: run(logits, image, label, key=key)[0])
        assert {bool(correct(k)) for k in jax.random.split(key, 12)} == expected
        key = jax.random.fold_in(jax.random.clone(key), 1)


def test_the_worst_case_needs_every_attack_to_fail(key):
    """Cross-entropy has no slope where the softmax saturates; DLR has: only together they tell."""
    weight = np.array([[1.0, -1.0, 0.0], [0.5, 0.0, -0.5]], np.float32)
    image = np.full((1, 1, 1, 2), 0.5, np.float32)
    label = np.eye(3, dtype=np.float32)[:1]

    def logits(x):
        return 1e5 * (x.reshape(1, 2) - jnp.array([[0.45, 0.45]])) @ weight

    # The margin of class 0 is 2 d_1 + 0.5 d_2 with d = x - 0.45: wrong below -0.05 / 2 in pixel 1.
    ball = linf(0.06)
    run = partial(apgd_correct, logits, image, label, ball=ball, steps=8)
    outcome = {
        names: bool(run(key=jax.random.key(5), losses=names)[0])
        for names in (("ce",), ("dlr",), ("ce", "dlr"))
    }
    assert outcome == {("ce",): True, ("dlr",): False, ("ce", "dlr"): False}
    np.testing.assert_array_equal(
        worst_case(
            jnp.array([True, True, False]),
            jnp.array([True, False, True]),
            jnp.array([True, True, True]),
        ),
        [True, False, False],
    )
