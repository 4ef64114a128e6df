"""Calibration measures against numpy loops, on edges, under masks, in parts, and a known wrong way."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.evaluation import calibration
from varmixup_jax.evaluation.calibration import (
    Bins,
    bin_means,
    calibration_gap,
    equal_mass_bins,
    expected_calibration_error,
    maximum_calibration_error,
    merge,
    overconfidence_error,
    reliability_bins,
    top_prediction,
)

N, M = 400, 15
equal_width = jax.jit(reliability_bins, static_argnames="num_bins")
equal_mass = jax.jit(equal_mass_bins, static_argnames="num_bins")


@pytest.fixture
def predictions():
    rng = np.random.default_rng(5)
    confidence = rng.beta(3, 1.5, size=N).astype(np.float32)
    correct = (rng.uniform(size=N) < confidence**2).astype(np.float32)
    return confidence, correct


def members(confidence, num_bins):
    """Indices in each bin ((m - 1)/M, m/M], by comparison with the two edges."""
    edges = np.linspace(0, 1, num_bins + 1, dtype=np.float32)
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        yield np.flatnonzero(inside | ((confidence == 0) & (low == 0)))


def by_hand(confidence, correct, groups):
    gaps = [
        (len(i) / len(confidence), confidence[i].mean(), correct[i].mean())
        for i in groups
        if len(i)
    ]
    return {
        "expected_calibration_error": sum(w * abs(a - c) for w, c, a in gaps),
        "maximum_calibration_error": max(abs(a - c) for _, c, a in gaps),
        "calibration_gap": confidence.mean() - correct.mean(),
        "overconfidence_error": sum(w * c * max(c - a, 0) for w, c, a in gaps),
    }


@pytest.mark.parametrize("num_bins", [1, 7, M])
def test_measures_agree_with_numpy(predictions, num_bins):
    bins = equal_width(*predictions, num_bins=num_bins)
    expected = by_hand(*predictions, list(members(predictions[0], num_bins)))
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(calibration, name)(bins), value, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("size", [N, N - 7])
def test_adaptive_bins_agree_with_numpy(predictions, size):
    confidence, correct = (column[:size] for column in predictions)
    order = np.argsort(confidence)
    groups = [order[np.arange(size) * M // size == m] for m in range(M)]
    assert {len(group) for group in groups} <= {size // M, size // M + 1}
    expected = by_hand(confidence, correct, groups)["expected_calibration_error"]
    bins = equal_mass(confidence, correct, num_bins=M)
    np.testing.assert_allclose(expected_calibration_error(bins), expected, rtol=1e-4)
    np.testing.assert_array_equal(bins.count, [len(group) for group in groups])


def test_bins_are_closed_on_the_right():
    edges = np.linspace(0, 1, 6, dtype=np.float32)
    above = np.nextafter(edges[:-1], np.float32(1))
    on_edges = reliability_bins(edges, np.ones(6), num_bins=5).count
    np.testing.assert_array_equal(on_edges, [2, 1, 1, 1, 1])  # 0 and 0.2 close the first bin
    np.testing.assert_array_equal(reliability_bins(above, np.ones(5), num_bins=5).count, 1)


def test_perfectly_calibrated_and_overconfident_cases():
    calibrated = Bins(jnp.array([10.0, 10.0]), jnp.array([3.0, 8.0]), jnp.array([3.0, 8.0]))
    assert float(expected_calibration_error(calibrated)) == 0.0
    # 10 predictions of confidence 0.9 of which 6 are right; 10 of 0.3 of which 5 are.
    mixed = Bins(jnp.array([10.0, 10.0]), jnp.array([9.0, 3.0]), jnp.array([6.0, 5.0]))
    np.testing.assert_allclose(expected_calibration_error(mixed), 0.25, rtol=1e-6)
    np.testing.assert_allclose(maximum_calibration_error(mixed), 0.3, rtol=1e-6)
    np.testing.assert_allclose(calibration_gap(mixed), 0.05, rtol=1e-5)
    np.testing.assert_allclose(overconfidence_error(mixed), 0.5 * 0.9 * 0.3, rtol=1e-6)


def test_sorting_confidence_and_correctness_separately_gives_another_number(predictions):
    """A bug found elsewhere: the two columns must stay paired, or the error is far too small."""
    confidence, correct = predictions
    for binned in (equal_width, equal_mass):
        right = expected_calibration_error(binned(confidence, correct, num_bins=M))
        torn = expected_calibration_error(binned(np.sort(confidence), np.sort(correct), num_bins=M))
        assert abs(float(right) - float(torn)) > 0.05
        # Sorting both by confidence is harmless.
        order = np.argsort(confidence)
        together = binned(confidence[order], correct[order], num_bins=M)
        np.testing.assert_allclose(expected_calibration_error(together), right, rtol=1e-5)


@pytest.mark.parametrize("binned", [equal_width, equal_mass])
def test_masked_rows_count_for_nothing(predictions, binned):
    confidence, correct = predictions
    mask = np.random.default_rng(6).uniform(size=N) < 0.7
    poisoned = np.where(mask, confidence, np.nan).astype(np.float32)
    masked = binned(poisoned, correct, num_bins=M, mask=mask)
    kept = binned(confidence[mask], correct[mask], num_bins=M)
    for got, expected in zip(masked, kept, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_parts_add_up_to_the_whole(predictions):
    confidence, correct = predictions
    parts = [
        equal_width(confidence[part], correct[part], num_bins=M)
        for part in (slice(0, 100), slice(100, 300), slice(300, N))
    ]
    whole = equal_width(confidence, correct, num_bins=M)
    for got, expected in zip(merge(*parts), whole, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="merge: got 2 bins"):
        merge(whole, reliability_bins(confidence, correct, num_bins=3))


def test_adaptive_bins_do_not_depend_on_the_order_among_ties(predictions):
    confidence, correct = predictions
    confidence = np.round(confidence, 1)  # a saturated model: many equal confidences
    shuffled = np.random.default_rng(7).permutation(N)
    a = expected_calibration_error(equal_mass(confidence, correct, num_bins=M))
    b = expected_calibration_error(equal_mass(confidence[shuffled], correct[shuffled], num_bins=M))
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_no_prediction_has_no_error():
    empty = reliability_bins(np.ones(3), np.ones(3), mask=np.zeros(3))
    for name in by_hand(np.ones(1), np.ones(1), [np.array([0])]):
        assert np.isnan(getattr(calibration, name)(empty))
    assert np.isnan(bin_means(empty)).all()


def test_accepts_a_calibrated_model_and_rejects_a_sharper_one():
    rng = np.random.default_rng(8)
    logits = rng.normal(size=(20000, 4)) * 2
    drawn = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # labels from the softmax
    label = np.eye(4, dtype=np.float32)[drawn]

    def error(scale):
        confidence, correct = top_prediction(jnp.asarray(scale * logits, jnp.float32), label)
        return float(expected_calibration_error(equal_width(confidence, correct, num_bins=M)))

    assert error(1.0) < 0.012
    assert error(1.5) > 0.03
    assert error(1 / 1.5) > 0.03


def test_top_prediction_is_softmax_and_argmax():
    logits = np.random.default_rng(9).normal(size=(6, 3)).astype(np.float32)
    label = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    confidence, correct = top_prediction(jnp.asarray(logits), jnp.asarray(label))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(confidence, p.max(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(correct, p.argmax(axis=1) == label.argmax(axis=1))


def test_refusals():
    with pytest.raises(ValueError, match="num_bins = 0: must be a whole number >= 1"):
        reliability_bins(np.ones(3), np.ones(3), num_bins=0)
    with pytest.raises(ValueError, match=r"have shapes \(3,\), \(2,\), \(3,\), must all be"):
        reliability_bins(np.ones(3), np.ones(2))
