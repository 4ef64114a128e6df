"""Calibration measures against numpy loops, on edges, under masks, in parts, and a known wrong way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.evaluation import calibration, programs
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

N, M, MILLION = 400, 15, 1_000_000
MEASURES = (
    "expected_calibration_error",
    "maximum_calibration_error",
    "calibration_gap",
    "overconfidence_error",
)
equal_width = jax.jit(reliability_bins, static_argnames="num_bins")
equal_mass = jax.jit(equal_mass_bins, static_argnames="num_bins")


@pytest.fixture
def predictions():
    rng = np.random.default_rng(5)
    confidence = rng.beta(3, 1.5, size=N).astype(np.float32)
    correct = (rng.uniform(size=N) < confidence**2).astype(np.float32)
    return confidence, correct


def bin_of(confidence, num_bins):
    """m - 1 for confidence in ((m - 1)/M, m/M], by walking up the edges."""
    edges = np.linspace(0, 1, num_bins + 1, dtype=np.float32)
    for m in range(num_bins):
        if confidence <= edges[m + 1]:
            return m
    raise AssertionError(confidence)


def loops(confidence, correct, groups):
    """Every measure in float64 from the equations, prediction by prediction."""
    totals = {}  # group -> [count, sum of confidences, sum of correctness]
    for group, c, a in zip(groups, confidence, correct, strict=True):
        total = totals.setdefault(group, [0, 0.0, 0.0])
        for column, value in enumerate((1, float(c), float(a))):
            total[column] += value
    n = len(confidence)
    found = dict.fromkeys(MEASURES, 0.0)
    for size, c, a in totals.values():
        conf, acc = c / size, a / size
        found["expected_calibration_error"] += size / n * abs(acc - conf)
        found["maximum_calibration_error"] = max(
            found["maximum_calibration_error"], abs(acc - conf)
        )
        found["calibration_gap"] += size / n * (conf - acc)
        found["overconfidence_error"] += size / n * conf * max(conf - acc, 0.0)
    return found


@pytest.mark.parametrize("num_bins", [1, 7, M])
def test_measures_agree_with_loops(predictions, num_bins):
    bins = equal_width(*predictions, num_bins=num_bins)
    expected = loops(*predictions, [bin_of(c, num_bins) for c in predictions[0]])
    for name, value in expected.items():
        found = getattr(calibration, name)(bins)
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("size", [N, N - 7])
def test_adaptive_bins_agree_with_loops(predictions, size):
    confidence, correct = (column[:size] for column in predictions)
    groups = np.empty(size, int)
    for rank, index in enumerate(np.argsort(confidence)):
        groups[index] = rank * M // size
    assert set(np.bincount(groups)) <= {size // M, size // M + 1}
    bins = equal_mass(confidence, correct, num_bins=M)
    np.testing.assert_array_equal(bins.count, np.bincount(groups))
    for name, value in loops(confidence, correct, groups).items():
        found = getattr(calibration, name)(bins)
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_the_measures_of_a_test_set_agree_with_loops():
    rng = np.random.default_rng(3)
    logits = (2 * rng.normal(size=(N, 4))).astype(np.float32)
    label = rng.integers(0, 4, N)
    values, bins = programs.measures(jnp.asarray(logits), jnp.eye(4)[label], M)
    nll, brier, top, right = 0.0, 0.0, [], []
    for row, y in zip(logits.astype(np.float64), label, strict=True):
        p = np.exp(row) / np.exp(row).sum()
        nll -= np.log(p[y]) / N
        brier += sum((p[k] - (k == y)) ** 2 for k in range(4)) / N
        top.append(p.max())
        right.append(float(p.argmax() == y))
    expected = loops(top, right, [bin_of(c, M) for c in top])
    order = np.argsort(top)
    ranks = [list(order).index(i) * M // N for i in range(N)]
    adaptive = loops(top, right, ranks)["expected_calibration_error"]
    assert {name: pytest.approx(float(value), rel=1e-5) for name, value in values.items()} == {
        "accuracy": np.mean(right),
        "nll": nll,
        "brier": brier,
        "ece": expected["expected_calibration_error"],
        "ece_adaptive": adaptive,
        "max_calibration_error": expected["maximum_calibration_error"],
        "calibration_gap": expected["calibration_gap"],
        "overconfidence_error": expected["overconfidence_error"],
    }
    np.testing.assert_allclose(np.sum(bins.confidence), sum(top), rtol=1e-6)


def errors_of(predictions):
    bins = equal_width(*predictions, num_bins=M)
    return [float(expected_calibration_error(bins)), float(maximum_calibration_error(bins))]


def test_agrees_with_torchmetrics(predictions):
    torch = pytest.importorskip("torch", reason="torch is an optional oracle")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    confidence, correct = predictions
    # As a binary task: the "probability of 1" is the confidence, "is it 1" whether it came true.
    theirs = [
        float(
            functional.binary_calibration_error(
                torch.tensor(confidence), torch.tensor(correct).int(), n_bins=M, norm=norm
            )
        )
        for norm in ("l1", "max")
    ]
    np.testing.assert_allclose(errors_of(predictions), theirs, rtol=1e-4)


def test_agrees_with_netcal(predictions):
    netcal = pytest.importorskip("netcal.metrics", reason="netcal is an optional oracle")
    theirs = [kind(bins=M).measure(*predictions) for kind in (netcal.ECE, netcal.MCE)]
    np.testing.assert_allclose(errors_of(predictions), theirs, rtol=1e-4)


@pytest.mark.parametrize("confidence", [0.7, 1.0])
def test_a_million_equal_confidences_are_added_exactly(confidence):
    """Half are right: the error is |conf - 1/2|. Sums in float32 are off by 1e-2 here."""
    values, correct = np.full(MILLION, confidence, np.float32), np.arange(MILLION) % 2
    expected = abs(float(values[0]) - 0.5)
    for binned in (equal_width, equal_mass):
        bins = binned(values, correct.astype(np.float32), num_bins=M)
        assert float(expected_calibration_error(bins)) == pytest.approx(expected, abs=1e-6)
        assert float(jnp.sum(bins.count)) == MILLION


def test_the_measures_of_a_million_predictions_are_exact():
    rng = np.random.default_rng(11)
    kinds = (3 * rng.normal(size=(5, 3))).astype(np.float32)  # few, so that sums drift if they can
    kind, label = rng.integers(0, 5, MILLION), rng.integers(0, 3, MILLION)
    found, bins = programs.measures(jnp.asarray(kinds[kind]), jnp.eye(3)[label], M)
    p = np.exp(kinds.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    right = kinds.argmax(axis=1)[kind] == label
    assert float(found["accuracy"]) == pytest.approx(right.mean(), abs=1e-6)
    assert float(found["nll"]) == pytest.approx(-np.log(p[kind, label]).mean(), rel=1e-6)
    brier = ((p[kind] - np.eye(3)[label]) ** 2).sum(axis=1).mean()
    assert float(found["brier"]) == pytest.approx(brier, abs=1e-6)
    top = p.max(axis=1)
    groups = [bin_of(c, M) for c in top]
    total = np.zeros((M, 2))
    for k in range(5):
        total[groups[k]] += (np.sum(kind == k) * top[k], np.sum(right & (kind == k)))
    ece = np.abs(total[:, 0] - total[:, 1]).sum() / MILLION
    assert float(found["ece"]) == pytest.approx(ece, abs=1e-6)
    np.testing.assert_allclose(bins.confidence, total[:, 0], rtol=2e-7)


def test_merging_many_parts_keeps_the_digits():
    """75 corrupted sets of 10,000: in float32, one after the other, the sum would drift."""
    part = reliability_bins(np.full(10_000, 0.7, np.float32), np.ones(10_000))
    whole = merge(*[part] * 75)
    expected = 750_000 * float(np.float32(0.7))
    assert float(jnp.sum(whole.confidence)) == pytest.approx(expected, rel=1.5e-7)
    assert float(jnp.sum(whole.count)) == 750_000


def test_a_prediction_that_is_not_a_number_is_not_lost():
    confidence = np.float32([0.3, np.nan, 0.9])
    for binned in (equal_width, equal_mass):
        bins = binned(confidence, np.ones(3), num_bins=3)
        assert np.isnan(expected_calibration_error(bins))
        assert float(jnp.sum(bins.count)) == 3


def test_bins_are_closed_on_the_right():
    edges = np.linspace(0, 1, 6, dtype=np.float32)
    above = np.nextafter(edges[:-1], np.float32(1))
    on_edges = equal_width(edges, np.ones(6), num_bins=5).count
    np.testing.assert_array_equal(on_edges, [2, 1, 1, 1, 1])  # 0 and 0.2 close the first bin
    np.testing.assert_array_equal(equal_width(above, np.ones(5), num_bins=5).count, 1)


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
    for name in MEASURES:
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
    many = jax.ShapeDtypeStruct((1 << 24,), jnp.float32)
    with pytest.raises(ValueError, match="has 16777216 predictions, must be < 16777216"):
        jax.eval_shape(reliability_bins, many, many)
    some = jax.ShapeDtypeStruct((1 << 23,), jnp.float32)
    with pytest.raises(ValueError, match=r"has 8388608 predictions, must be < 2\^31 / num_bins"):
        jax.eval_shape(lambda c: equal_mass_bins(c, c, num_bins=1000), some)
