"""Temperature scaling: one number that recalibrates confidence without changing a prediction."""

from __future__ import annotations

import math

import numpy as np

RANGE = (1e-3, 1e3)
"""Bounds of the temperature, which is clipped to them: a classifier that is right about every
example would be sharpened without limit, one that is no better than chance flattened."""


def fit_temperature(logits: np.ndarray, label: np.ndarray) -> float:
    """The T > 0 that minimises the mean cross-entropy of softmax(f / T) against the labels.

    In s = 1 / T the loss is convex: d/ds is the mean over examples of E_p[f] - E_y[f] with p =
    softmax(s f), which grows with s, and its only root is found by Brent's method in float64.

    Args:
      logits: `[N, K]`, of examples the classifier was not trained on and is not tested on.
      label: `[N, K]` probability rows.

    Returns:
      T to a relative 1e-8, within `RANGE`; NaN where a logit is not finite.

    References:
      Guo, Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, ICML 2017, sec. 4.2.

    >>> two_of_three = np.array([[1.0, 0.0]] * 2 + [[0.0, 1.0]])
    >>> logits = np.array([[2.0, 0.0]] * 3)
    >>> print(f"{2 / math.log(2):.6f} {fit_temperature(logits, two_of_three):.6f}")
    2.885390 2.885390
    """
    from scipy.optimize import brentq  # slow to import

    logits, label = logits.astype(np.float64), label.astype(np.float64)
    if not np.isfinite(logits).all():
        return math.nan
    logits = logits - logits.max(axis=1, keepdims=True)
    wanted = float(np.mean(np.sum(label * logits, axis=1)))

    def slope(scale: float) -> float:
        weight = np.exp(scale * logits)  # the largest is 1
        expected = np.sum(weight * logits, axis=1) / np.sum(weight, axis=1)
        return float(np.mean(expected)) - wanted

    low, high = (1.0 / end for end in RANGE[::-1])
    if slope(low) >= 0.0:
        return RANGE[1]
    if slope(high) <= 0.0:
        return RANGE[0]
    return 1.0 / float(brentq(slope, low, high, xtol=1e-15, rtol=1e-10))
