"""Losses against NumPy in float64, their gradients, and their behaviour far out.

DLR, and the distances of the methods with their gradients, are in `tests/science` too.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from varmixup_jax import losses

BATCH, CLASSES = 6, 5
RNG = np.random.default_rng(1)
LOGITS, OTHER = 3 * RNG.normal(size=(2, BATCH, CLASSES))
LABEL = RNG.dirichlet(np.ones(CLASSES), size=BATCH)


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def kl(p, q):
    return (p * np.log(p / q)).sum(axis=1)


def numpy_js(one, other):
    p, q = softmax(one), softmax(other)
    return (kl(p, (p + q) / 2) + kl(q, (p + q) / 2)) / 2


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
    "kl_divergence": lambda f, g: kl(softmax(f), softmax(g)),
    "js_divergence": numpy_js,
}
COMPILED = {name: jax.jit(getattr(losses, name)) for name in ORACLES}


def second_of(name):
    """The second argument: labels, or the logits of another prediction."""
    return OTHER if name.endswith("divergence") else LABEL


@pytest.mark.parametrize("name", ORACLES)
def test_value_gradient_and_narrow_logits(name):
    """float64's value; finite differences; and from bfloat16 logits what float32 makes of them."""
    first, second = (jnp.asarray(rows, jnp.float32) for rows in (LOGITS, second_of(name)))
    got = COMPILED[name](first, second)
    assert (got.shape, got.dtype) == ((BATCH,), jnp.float32)
    np.testing.assert_allclose(got, ORACLES[name](LOGITS, second_of(name)), rtol=1e-5, atol=1e-6)
    narrow = first.astype(jnp.bfloat16)
    wide = COMPILED[name](narrow.astype(jnp.float32), second)
    found = COMPILED[name](narrow, second)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, wide, rtol=1e-6)
    if name.endswith("divergence"):
        check_grads(COMPILED[name], (first, second), order=1, modes=("rev",), rtol=2e-2)
    elif name != "soft_accuracy":
        check_grads(
            lambda f: COMPILED[name](f, second), (first,), order=1, modes=("rev",), rtol=2e-2
        )


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


EXTREME = np.array(
    [[1e4, -1e4, 0, 0], [-1e4, 1e4, 1e4, 1e4], [1e4, 1e4, 1e4, 1e4], [0, 0, 0, 1e4], [90, 0, 0, 0]]
)


@pytest.mark.parametrize("name", ORACLES)
def test_extreme_and_equal_logits_give_finite_values_and_gradients(name):
    logits = jnp.asarray(np.concatenate([EXTREME, -EXTREME]), jnp.float32)
    divergence = name.endswith("divergence")
    seconds = (-logits[:, ::-1], logits) if divergence else (jnp.full_like(logits, 0.25),)
    total = jax.jit(
        jax.value_and_grad(lambda *pair: jnp.sum(COMPILED[name](*pair)), argnums=(0, 1))
    )
    for second in seconds:
        value, slopes = total(logits, second)
        assert np.isfinite(value)
        assert all(np.isfinite(slope).all() for slope in slopes)
    if divergence:  # of equal rows, the last pair
        np.testing.assert_allclose([value, *(np.abs(s).max() for s in slopes)], 0.0, atol=1e-6)


def test_bce_is_accurate_where_one_probability_is_nearly_one():
    # 1 - p_0 = 2 exp(-40) to first order: far below what 1 - p can hold in float32.
    logits, wrong = jnp.array([[40.0, 0.0, 0.0]]), jnp.array([[0.0, 1.0, 0.0]])
    found = COMPILED["bce_softmax"](logits, wrong)
    np.testing.assert_allclose(found, (40.0 - np.log(2) + 40.0) / 3, rtol=1e-6)


def test_soft_accuracy_of_a_nan_row_is_zero():
    logits = jnp.array([[jnp.nan, 1.0], [2.0, 1.0]])
    label = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(COMPILED["soft_accuracy"](logits, label), [0.0, 1.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda f: losses.cross_entropy(f, jnp.zeros((2,), jnp.int32)),
            r"^label: has shape \(2,\), must be that of logits, \(2, 3",
        ),
        (lambda f: losses.kl_to_clean(f, f, None), r"^clean_logits = None: .*needs an earlier"),
        (lambda f: losses.js_to_clean(f, f, None), r"^clean_logits = None: js_to_clean needs"),
        (lambda f: losses.dlr(f[:, :2], f[:, :2]), "2 classes, dlr needs >= 3"),
        (lambda f: losses.bce_softmax(f[:, :1], f[:, :1]), "1 classes, bce_softmax needs >= 2"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.zeros((2, 3)))
