"""Calibration: does a prediction of confidence c come true a fraction c of the time?

Everything is computed from `Bins`, sums over groups of predictions. Bins of equal width are
additive: those of two batches, or of two processes, are merged by adding them.

Values are summed as 24-bit fixed-point integers: exact, in any order. Adding up floats one by one
drifts: with a million predictions of equal confidence, a float32 sum is off by 1 %.
"""

from __future__ import annotations

import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from varmixup_jax import checks
from varmixup_jax.losses import soft_accuracy
from varmixup_jax.types import Array

MOST = 1 << 24  # predictions: their count fits float32, their sums fit uint32


class Bins(NamedTuple):
    """Sums over the predictions of each bin, all float32 `[M]`.

    Attributes:
      count: number of predictions.
      confidence: sum of their confidences.
      correct: sum of their correctness.
    """

    count: Array  # type: ignore[assignment]
    confidence: Array
    correct: Array


def top_prediction(logits: Array, label: Array) -> tuple[Array, Array]:
    """Confidence of the predicted class, max_k softmax(f)_k, and whether that class is correct.

    Args:
      logits, label: `[B, K]`; for soft labels `correct` is the label's mass on the prediction.

    Returns:
      `confidence`, `correct`: float32 `[B]` in [0, 1].

    Raises:
      ValueError: the shapes differ.
    """
    confidence = jnp.max(jax.nn.softmax(logits.astype(jnp.float32)), axis=-1)
    return confidence, soft_accuracy(logits, label)


def reliability_bins(
    confidence: Array, correct: Array, *, num_bins: int = 15, mask: Array | None = None
) -> Bins:
    r"""Sums over M bins of equal width, closed on the right.

    .. math::
        B_m = \left(\frac{m - 1}{M}, \frac{m}{M}\right]

    Args:
      confidence: `[B]` in [0, 1]; 0 itself belongs to the first bin.
      correct: `[B]`, 0/1 or boolean (or in [0, 1] for soft labels).
      num_bins: M >= 1.
      mask: `[B]`, false (0) for padding, which is left out; None for none.

    Returns:
      `Bins` of length M: each is the exact sum of the values rounded to 2^-24, rounded to float32
      once.

    Raises:
      ValueError: M < 1, shapes that are not `[B]`, B >= 2^24, or values outside [0, 1] where they are
        known (not traced).

    References:
      Guo, Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, ICML 2017, sec. 2.

    >>> bins = reliability_bins(jnp.array([0.5, 0.9]), jnp.array([1.0, 0.0]), num_bins=2)
    >>> bins.count.tolist(), bins.correct.tolist()
    ([1.0, 1.0], [1.0, 0.0])
    """
    confidence, correct, weight = _predictions(confidence, correct, mask)
    checks.whole(1, num_bins=num_bins)
    inner_edges = jnp.linspace(0.0, 1.0, num_bins + 1, dtype=jnp.float32)[1:-1]
    # side="left" counts the edges strictly below: a value on an edge stays in the bin it closes.
    index = jnp.searchsorted(inner_edges, confidence, side="left")
    return _sums(index, confidence, correct, weight, num_bins)


def equal_mass_bins(
    confidence: Array, correct: Array, *, num_bins: int = 15, mask: Array | None = None
) -> Bins:
    """Sums over M groups of equal size (to within one) in order of confidence: adaptive bins.

    Prediction number r of n in ascending order goes to group floor(r M / n). Equal confidences may
    straddle two groups; each of them then counts with their mean correctness, so that the result
    does not depend on the order of the data. Not additive: pass the whole set at once.

    Args:
      confidence, correct, num_bins, mask: as in `reliability_bins`.

    Returns:
      `Bins` of length M.

    Raises:
      ValueError: M < 1, shapes that are not `[B]`, B >= 2^24, or B M >= 2^31.

    References:
      Nguyen and O'Connor, *Posterior calibration and exploratory analysis for natural language
      processing models*, EMNLP 2015, sec. 4.
    """
    confidence, correct, weight = _predictions(confidence, correct, mask)
    checks.whole(1, num_bins=num_bins)
    if len(weight) * num_bins >= 1 << 31:
        text = f"must be < 2^31 / num_bins, {(1 << 31) // num_bins}"
        raise ValueError(f"confidence: has {len(weight)} predictions, {text}")
    order = jnp.argsort(jnp.where(weight > 0, confidence, jnp.inf))  # padding comes last
    confidence, correct, weight = confidence[order], correct[order], weight[order]

    new_value = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.int32(jnp.diff(confidence) != 0)])
    tie = jnp.cumsum(new_value)
    ties = _sums(tie, confidence, correct, weight, len(weight))
    correct = (ties.correct / jnp.maximum(ties.count, 1.0))[tie]

    total = jnp.sum(weight).astype(jnp.int32)
    rank = jnp.arange(len(weight), dtype=jnp.int32)
    index = jnp.clip(rank * num_bins // jnp.maximum(total, 1), 0, num_bins - 1)
    return _sums(index, confidence, correct, weight, num_bins)


def merge(*parts: Bins) -> Bins:
    """The bins of several disjoint sets together (the same M equal-width bins each).

    Raises:
      ValueError: nothing to merge, or different numbers of bins.
    """
    if len({part.count.shape for part in parts}) != 1:
        raise ValueError(f"merge: got {len(parts)} bins, needs >= 1, all of the same length")
    while len(parts) > 1:  # in pairs: the rounding grows with the logarithm of their number
        pairs = [
            jax.tree.map(operator.add, *pair) for pair in zip(parts[::2], parts[1::2], strict=False)
        ]
        parts = (*pairs, *parts[2 * len(pairs) :])
    return parts[0]


def bin_means(bins: Bins) -> tuple[Array, Array]:
    """Mean confidence and accuracy of each bin, `[M]` each; NaN where a bin is empty."""
    return bins.confidence / bins.count, bins.correct / bins.count


def expected_calibration_error(bins: Bins) -> Array:
    r"""Expected calibration error (Guo et al. 2017, eq. 3).

    .. math::
        \mathrm{ECE} = \sum_m \frac{|B_m|}{n}\, |\mathrm{acc}(B_m) - \mathrm{conf}(B_m)|

    With `equal_mass_bins` this is the adaptive ECE.

    Returns:
      float32 scalar in [0, 1]; NaN if all bins are empty, as for all measures here.

    >>> one_bin = Bins(jnp.array([4.0]), jnp.array([3.5]), jnp.array([3.0]))
    >>> print(expected_calibration_error(one_bin))
    0.125
    """
    return jnp.sum(jnp.abs(bins.correct - bins.confidence)) / jnp.sum(bins.count)


def maximum_calibration_error(bins: Bins) -> Array:
    """max_m |acc(B_m) - conf(B_m)| over the bins that are not empty (Guo et al. 2017, eq. 5)."""
    confidence, accuracy = bin_means(bins)
    worst = jnp.max(jnp.where(bins.count > 0, jnp.abs(accuracy - confidence), -jnp.inf))
    return jnp.where(jnp.sum(bins.count) > 0, worst, jnp.nan)


def calibration_gap(bins: Bins) -> Array:
    """Mean confidence minus accuracy, in [-1, 1]: > 0 over-confident, < 0 under-confident.

    Signed, because training on mixed labels can make a model *under*-confident, which ECE hides.
    """
    return jnp.sum(bins.confidence - bins.correct) / jnp.sum(bins.count)


def overconfidence_error(bins: Bins) -> Array:
    """OE = sum_m |B_m| / n * conf(B_m) * max(conf(B_m) - acc(B_m), 0).

    References:
      Thulasidasan et al., *On Mixup Training: Improved Calibration and Predictive Uncertainty for
      Deep Neural Networks*, NeurIPS 2019.
    """
    # |B_m| * max(conf - acc, 0) from the sums, so that an empty bin needs no division by 0.
    excess = jnp.maximum(bins.confidence - bins.correct, 0.0)
    mean_confidence = bins.confidence / jnp.maximum(bins.count, 1.0)
    return jnp.sum(mean_confidence * excess) / jnp.sum(bins.count)


def _predictions(
    confidence: Array, correct: Array, mask: Array | None
) -> tuple[Array, Array, Array]:
    """Checked float32 columns; masked entries are 0 in all three."""
    confidence = jnp.asarray(confidence).astype(jnp.float32)
    checks.values_within(0.0, 1.0, confidence=confidence, correct=jnp.asarray(correct))
    correct = jnp.asarray(correct).astype(jnp.float32)
    keep = (
        jnp.ones(confidence.shape, jnp.bool_)
        if mask is None
        else jnp.asarray(mask).astype(jnp.bool_)
    )
    if confidence.ndim != 1 or not confidence.shape == correct.shape == keep.shape:
        shapes = f"{confidence.shape}, {correct.shape}, {keep.shape}"
        raise ValueError(f"confidence, correct, mask: have shapes {shapes}, must all be [B]")
    if len(confidence) >= MOST:
        raise ValueError(f"confidence: has {len(confidence)} predictions, must be < {MOST}")
    zero = jnp.zeros_like(confidence)
    weight = keep.astype(jnp.float32)
    return jnp.where(keep, confidence, zero), jnp.where(keep, correct, zero), weight


def _sums(index: Array, confidence: Array, correct: Array, weight: Array, num_bins: int) -> Bins:
    columns = (_exact_sum(column * weight, index, num_bins) for column in (confidence, correct))
    return Bins(_exact_sum(weight, index, num_bins), *columns)


def _exact_sum(values: Array, index: Array, num_bins: int) -> Array:
    """Sums of values in [0, 1] by bin, float32 `[num_bins]`; NaN where a value is NaN.

    Each value is split into three base-256 digits after the point (the first may be 256), whose
    sums fit 32 bits.
    """
    fixed = jnp.round(jnp.clip(values, 0.0, 1.0) * 2.0**24).astype(jnp.uint32)
    digits = (fixed >> 16, (fixed >> 8) & 255, fixed & 255, jnp.isnan(values).astype(jnp.uint32))
    sums = jax.ops.segment_sum(jnp.stack(digits, axis=-1), index, num_bins).astype(jnp.float32)
    high, middle, low, missing = sums.T
    total = high * 2.0**-8 + (middle * 2.0**-16 + low * 2.0**-24)
    return jnp.where(missing > 0, jnp.nan, total)
