"""Out-of-distribution detection: telling images of another data set from the classifier's own.

The score is the maximum softmax probability: high means in-distribution.

References:
  Hendrycks and Gimpel, *A Baseline for Detecting Misclassified and Out-of-Distribution Examples in
  Neural Networks*, ICLR 2017.
"""

from __future__ import annotations

import numpy as np

TRUE_POSITIVES = 0.95


def confidence_score(logits: np.ndarray) -> np.ndarray:
    """-log of the odds against the predicted class, float64 `[N]`; ordered as max_k softmax(f)_k.

    The probability itself is 1 in floating point for many examples, which would tie.

    Args:
      logits: `[N, K]`, K >= 2; a row with a NaN scores -inf.
    """
    ordered = np.sort(logits.astype(np.float64), axis=1)  # NaN last
    score = ordered[:, -1] - np.logaddexp.reduce(ordered[:, :-1], axis=1)
    return np.where(np.isnan(score), -np.inf, score)


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """P(s_in > s_out) + P(s_in = s_out) / 2 for a random pair: the area under the ROC curve.

    Args:
      inside: scores of the classifier's own test images, `[N]`.
      outside: scores of the other set's images, `[M]`.

    Returns:
      In [0, 1]; 1/2 is chance.

    >>> auroc(np.array([3.0, 2.0]), np.array([2.0, 1.0]))
    0.875
    """
    ordered = np.sort(inside)
    below, up_to = (np.searchsorted(ordered, outside, side) for side in ("left", "right"))
    return 1.0 - float(np.mean(below + up_to)) / (2 * len(inside))


def fpr95(inside: np.ndarray, outside: np.ndarray) -> float:
    """Fraction of the other set accepted by the threshold that accepts 95 % of the own images.

    The threshold is the largest score that at least 95 % of `inside` reach; scores that reach it
    are accepted.

    >>> fpr95(np.arange(100.0), np.array([0.0, 4.0, 5.0, 6.0]))
    0.5
    """
    wanted = int(np.ceil(TRUE_POSITIVES * len(inside)))
    threshold = np.sort(inside)[len(inside) - wanted]
    return float(np.mean(outside >= threshold))
