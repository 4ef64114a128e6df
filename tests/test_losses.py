"""Losses against numpy in float64, their gradients, and their behaviour far out."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from varmixup_jax import losses

BATCH, CLASSES = 6, 5
DIVERGENCES = ("kl_divergence", "js_divergence")
NAMES = ("cross_entropy", *DIVERGENCES, "bce_softmax", "brier_score", "soft_accuracy", "dlr")
COMPILED = {name: jax.jit(getattr(losses, name)) for name in NAMES}


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    logits, other = 3 * rng.normal(size=(2, BATCH, CLASSES))
    label = rng.dirichlet(np.ones(CLASSES), size=BATCH)
    return logits, label, other


def as_float32(*arrays):
    return [jnp.asarray(array, jnp.float32) for array in arrays]


def numpy_dlr(logits, label):
    out = []
    for row, true in zip(logits, label.argmax(axis=1), strict=True):
        ordered = np.sort(row)[::-1]
        out.append(-(row[true] - np.delete(row, true).max()) / (ordered[0] - ordered[2]))
    return np.array(out)


def numpy_bce(logits, label):
    p = softmax(logits)
    return -np.mean(label * np.log(p) + (1 - label) * np.log1p(-p), axis=1)


ORACLES = {
    "cross_entropy": lambda f, y: -(y * np.log(softmax(f))).sum(axis=1),
    "bce_softmax": numpy_bce,
    "brier_score": lambda f, y: ((softmax(f) - y) ** 2).sum(axis=1),
    "soft_accuracy": lambda f, y: y[np.arange(len(y)), f.argmax(axis=1)],
    "dlr": numpy_dlr,
}
DIFFERENTIABLE = ["cross_entropy", "bce_softmax", "brier_score", "dlr"]


@pytest.mark.parametrize("name", ORACLES)
def test_agrees_with_numpy_in_float64(name, rows):
    logits, label, _ = rows
    got = COMPILED[name](*as_float32(logits, label))
    assert got.shape == (BATCH,)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, ORACLES[name](logits, label), rtol=3e-6, atol=1e-6)


def test_kl_agrees_with_numpy_and_is_not_symmetric(rows):
    logits, _, other = rows
    p, q = softmax(other), softmax(logits)
    expected = (p * np.log(p / q)).sum(axis=1)
    reverse = (q * np.log(q / p)).sum(axis=1)
    got = COMPILED["kl_divergence"](*as_float32(other, logits))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert not np.allclose(got, reverse, rtol=1e-2)


def test_js_agrees_with_numpy_and_is_symmetric(rows):
    logits, _, other = rows
    p, q = softmax(other), softmax(logits)
    m = (p + q) / 2
    expected = (p * np.log(p / m) + q * np.log(q / m)).sum(axis=1) / 2
    got = COMPILED["js_divergence"](*as_float32(other, logits))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        got, COMPILED["js_divergence"](*as_float32(logits, other)), rtol=1e-5
    )
    near_miss = (p * np.log(p / m)).sum(axis=1)  # KL to the middle, one way only
    assert not np.allclose(got, near_miss, rtol=1e-2)


def test_js_lies_between_zero_and_log_2():
    logits = jnp.asarray(np.random.default_rng(2).normal(size=(500, 4)) * 30, jnp.float32)
    value = np.asarray(COMPILED["js_divergence"](logits, jnp.roll(logits, 1, axis=1)))
    assert value.min() > -1e-6
    assert value.max() <= np.log(2) + 1e-6
    assert value.max() > 0.69


def test_the_three_way_divergence_is_between_8_and_16_ninths_of_the_pairwise_mean():
    rng = np.random.default_rng(3)
    clean, first, second = rng.normal(size=(3, 2000, 5)) * np.array([1, 1e-2, 1e-2])[:, None, None]

    def ratio(one, two):
        p = np.stack([softmax(clean), softmax(clean + one), softmax(clean + two)])

        def divergence(p):
            return (p * np.log(p / p.mean(axis=0))).sum(axis=-1).mean()

        return divergence(p) / ((divergence(p[[0, 1]]) + divergence(p[[0, 2]])) / 2)

    assert abs(ratio(first, second) - 16 / 9) < 0.02
    assert abs(ratio(first, first) - 8 / 9) < 0.02


@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergences_are_zero_with_zero_gradient_at_equal_rows(name, rows):
    logits = jnp.asarray(rows[0], jnp.float32)
    divergence = COMPILED[name]
    np.testing.assert_allclose(divergence(logits, logits), 0.0, atol=1e-7)
    for grad in jax.grad(lambda *pair: jnp.sum(divergence(*pair)), (0, 1))(logits, logits):
        np.testing.assert_allclose(grad, 0.0, atol=1e-6)


@pytest.mark.parametrize("name", [*DIFFERENTIABLE, *DIVERGENCES])
def test_gradients_agree_with_finite_differences(name, rows):
    logits, label, other = as_float32(*rows)
    second = other if name in DIVERGENCES else label
    loss = COMPILED[name]
    check_grads(lambda f: loss(f, second), (logits,), order=1, modes=("rev",), rtol=2e-2)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_gradients_of_divergences_flow_into_both_arguments(name, rows):
    logits, _, other = as_float32(*rows)
    check_grads(COMPILED[name], (other, logits), order=1, modes=("rev",), rtol=2e-2)


EXTREME = np.array(
    [[1e4, -1e4, 0, 0], [-1e4, 1e4, 1e4, 1e4], [1e4, 1e4, 1e4, 1e4], [0, 0, 0, 1e4], [90, 0, 0, 0]]
)


@pytest.mark.parametrize("scale", [1.0, -1.0])
@pytest.mark.parametrize("name", [*DIFFERENTIABLE, *DIVERGENCES, "soft_accuracy"])
def test_extreme_logits_give_finite_values_and_gradients(name, scale):
    logits = jnp.asarray(scale * EXTREME, jnp.float32)
    label = jnp.full_like(logits, 0.25) if name not in DIVERGENCES else -logits[:, ::-1]
    total = jax.jit(lambda *pair: jnp.sum(COMPILED[name](*pair)))
    value, grads = jax.value_and_grad(total, argnums=(0, 1))(logits, label)
    assert jnp.isfinite(value)
    for grad in grads:
        assert jnp.all(jnp.isfinite(grad))


def test_bce_is_accurate_where_one_probability_is_nearly_one():
    # 1 - p_0 = 2 exp(-40) to first order: far below what 1 - p can hold in float32.
    logits = jnp.array([[40.0, 0.0, 0.0]])
    wrong = jnp.array([[0.0, 1.0, 0.0]])
    np.testing.assert_allclose(
        COMPILED["bce_softmax"](logits, wrong), (40.0 - np.log(2) + 40.0) / 3, rtol=1e-6
    )


def test_dlr_ignores_shift_and_scale_and_its_sign_tells_errors(rows):
    logits, label, _ = as_float32(*rows)
    value = COMPILED["dlr"](logits, label)
    np.testing.assert_allclose(COMPILED["dlr"](7.0 * logits + 3.0, label), value, rtol=1e-4)
    wrong = jnp.argmax(logits, axis=1) != jnp.argmax(label, axis=1)
    np.testing.assert_array_equal(value > 0, wrong)


@pytest.mark.parametrize("name", [*ORACLES, *DIVERGENCES])
def test_narrow_logits_are_computed_in_float32(name, rows):
    logits, label, _ = rows
    narrow = jnp.asarray(logits, jnp.bfloat16)
    label = jnp.asarray(label, jnp.float32)
    loss = COMPILED[name]
    got = loss(narrow, label)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, loss(narrow.astype(jnp.float32), label), rtol=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "bce_softmax"])
def test_linear_in_the_labels(name, rows):
    logits, label, _ = as_float32(*rows)
    loss = partial(COMPILED[name], logits)
    mixed = loss(0.3 * label + 0.7 * label[::-1])
    np.testing.assert_allclose(mixed, 0.3 * loss(label) + 0.7 * loss(label[::-1]), rtol=1e-5)


def test_soft_accuracy_of_a_nan_row_is_zero():
    logits = jnp.array([[jnp.nan, 1.0], [2.0, 1.0]])
    label = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(COMPILED["soft_accuracy"](logits, label), [0.0, 1.0])


def test_distances_are_the_losses(rows):
    logits, label, other = as_float32(*rows)
    np.testing.assert_array_equal(
        losses.ce(logits, label, None), losses.cross_entropy(logits, label)
    )
    np.testing.assert_array_equal(
        losses.bce(logits, label, None), losses.bce_softmax(logits, label)
    )
    np.testing.assert_array_equal(
        losses.kl_to_clean(logits, label, other), losses.kl_divergence(other, logits)
    )
    np.testing.assert_array_equal(
        losses.js_to_clean(logits, label, other), losses.js_divergence(other, logits)
    )


def test_refusals():
    logits = jnp.zeros((2, 3))
    with pytest.raises(
        ValueError, match=r"^label: has shape \(2,\), must be that of logits, \(2, 3"
    ):
        losses.cross_entropy(logits, jnp.zeros((2,), jnp.int32))
    with pytest.raises(ValueError, match=r"^clean_logits = None: .*needs an earlier term"):
        losses.kl_to_clean(logits, logits, None)
    with pytest.raises(ValueError, match=r"^clean_logits = None: js_to_clean needs"):
        losses.js_to_clean(logits, logits, None)
    with pytest.raises(ValueError, match="2 classes, dlr needs >= 3"):
        losses.dlr(logits[:, :2], logits[:, :2])
    with pytest.raises(ValueError, match="1 classes, bce_softmax needs >= 2"):
        losses.bce_softmax(logits[:, :1], logits[:, :1])
