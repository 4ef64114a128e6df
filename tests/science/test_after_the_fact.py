"""Temperature and detection of other data sets, beside SciPy and scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import roc_auc_score, roc_curve

from varmixup_jax.evaluation.detection import auroc, confidence_score, fpr95
from varmixup_jax.evaluation.programs import scaled
from varmixup_jax.evaluation.temperature import fit_temperature

RNG = np.random.default_rng(0)
CLASSES = RNG.integers(0, 5, 400)
LOGITS = (RNG.normal(size=(400, 5)) + 2.0 * np.eye(5)[CLASSES]).astype(np.float32)
LABEL = np.eye(5, dtype=np.float32)[CLASSES]


def nll(temperature, logits):
    scores = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return -np.mean(np.sum(LABEL * scores, axis=1))


@pytest.mark.parametrize("scale", [0.2, 1.0, 7.0])
def test_the_temperature_is_where_the_loss_is_least(scale):
    """Over- and underconfident; searched in log T, by golden section."""
    logits = scale * LOGITS
    best = minimize_scalar(lambda t: nll(np.exp(t), logits), bounds=(-4, 4), method="bounded",
                           options={"xatol": 1e-9})  # fmt: skip
    assert fit_temperature(logits, LABEL) == pytest.approx(np.exp(best.x), rel=1e-4)


def test_soft_labels_and_ends_of_the_range():
    soft = softmax(LOGITS.astype(np.float64) / 2.5, axis=1)
    assert fit_temperature(LOGITS, soft) == pytest.approx(2.5, rel=1e-4)
    assert fit_temperature(10.0 * LABEL, LABEL) == 1e-3  # all right: as sure as may be
    assert fit_temperature(-10.0 * LABEL, LABEL) == 1e3  # all wrong: as unsure
    assert np.isnan(fit_temperature(np.where(LABEL > 0, np.nan, LOGITS), LABEL))


def test_scaled_measures_keep_predictions_and_change_confidences():
    temperature = 2.5
    got = scaled(LOGITS, LABEL, np.float32(temperature), 15)
    p = softmax(LOGITS.astype(np.float64) / temperature, axis=1)
    confidence, right = p.max(axis=1), LOGITS.argmax(axis=1) == CLASSES
    number = np.ceil(confidence * 15) - 1
    ece = sum(
        abs(right[number == m].sum() - confidence[number == m].sum()) for m in range(15)
    ) / len(p)
    assert float(got["ece_scaled"]) == pytest.approx(ece, rel=1e-4)
    assert float(got["nll_scaled"]) == pytest.approx(nll(temperature, LOGITS), rel=1e-5)


OTHER = RNG.normal(size=(300, 5)).astype(np.float32)


def test_detection_beside_scikit_learn():
    inside, outside = confidence_score(LOGITS), confidence_score(OTHER)
    truth = np.r_[np.ones(400), np.zeros(300)]
    by_probability = softmax(np.r_[LOGITS, OTHER].astype(np.float64), axis=1).max(axis=1)
    assert auroc(inside, outside) == pytest.approx(roc_auc_score(truth, by_probability), abs=1e-12)
    assert 0.6 < auroc(inside, outside) < 0.95
    false, true, _ = roc_curve(truth, by_probability, drop_intermediate=False)
    assert fpr95(inside, outside) == pytest.approx(false[np.argmax(true >= 0.95)])


def test_ties_count_half_and_sure_predictions_are_told_apart():
    rounded = np.round(RNG.normal(size=50)), np.round(RNG.normal(size=40))
    pairs = [(a > b) + 0.5 * (a == b) for a in rounded[0] for b in rounded[1]]
    assert auroc(*rounded) == pytest.approx(np.mean(pairs))
    sure, surer = np.array([[40.0, 0.0, 0.0]]), np.array([[50.0, 0.0, 0.0]])
    assert softmax(sure).max() == softmax(surer).max()
    assert auroc(confidence_score(surer), confidence_score(sure)) == 1.0
    assert confidence_score(np.array([[np.nan, 1.0]])) == -np.inf
