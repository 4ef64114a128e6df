"""What an evaluation has found so far: rows, reliability bins, predictions."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from varmixup_jax import checks, corruptions
from varmixup_jax.evaluation import programs
from varmixup_jax.evaluation.calibration import Bins, merge
from varmixup_jax.evaluation.detection import auroc, confidence_score, fpr95
from varmixup_jax.evaluation.protocol import KEPT
from varmixup_jax.logits_file import Condition, Predictions

CLEAN: Condition = ("none", 0)


class Evaluation(NamedTuple):
    """What was measured.

    Attributes:
      metrics: dicts `{corruption, severity, metric, value, count}`: `value` a float (a fraction in
        [0, 1]; NLL and local linearity error in nats), `count` the examples it is a mean over.
      bins: reliability bins (numpy) by `(corruption, severity)`, to draw or to merge.
      predictions: float32 logits and classes by `(corruption, severity)`, of the conditions kept.
    """

    metrics: list[dict[str, Any]]
    bins: dict[Condition, Bins]
    predictions: dict[Condition, Predictions]


class Record:
    """Collects an `Evaluation`.

    Args:
      num_bins: bins of the calibration measures, >= 1.
      keep_logits: which predictions are kept: "none", "clean" or "all".
      temperature: of the `_scaled` measures; None leaves them out.
      fitted_on: how many examples it was fitted on.
    """

    def __init__(
        self,
        *,
        num_bins: int = 15,
        keep_logits: str = "none",
        temperature: float | None = None,
        fitted_on: int = 0,
    ):
        checks.whole(1, num_bins=num_bins)
        checks.one_of(KEPT, keep_logits=keep_logits)
        self._num_bins, self._keep, self._temperature = num_bins, keep_logits, temperature
        self.found = Evaluation([], {}, {})
        if temperature is not None:
            self.value("temperature", temperature, fitted_on)

    def add(self, condition: Condition, logits: np.ndarray, label: np.ndarray) -> None:
        """Measures one set of images.

        Args:
          condition: corruption and severity.
          logits: float32 `[N, K]`.
          label: float32 `[N, K]` probability rows.
        """
        values, bins = jax.device_get(programs.measures(logits, label, self._num_bins))
        if self._temperature is not None:
            scale = np.float32(self._temperature)
            values |= jax.device_get(programs.scaled(logits, label, scale, self._num_bins))
        recall, count = class_accuracy(logits, label)
        values["balanced_accuracy"] = recall[count > 0].mean()
        self.found.bins[condition] = bins
        if self._keep == "all" or (self._keep == "clean" and condition == CLEAN):
            classes = label.argmax(axis=1).astype(np.int32)
            self.found.predictions[condition] = Predictions(logits, classes)
        for name, value in values.items():
            self.value(name, value, len(logits), condition)
        if condition == CLEAN:
            for number in np.flatnonzero(count):
                self.value(f"class_accuracy_{number}", recall[number], count[number])

    def unseen(self, name: str, own: np.ndarray, other: np.ndarray) -> None:
        """How well the logits separate images of another data set from the test images."""
        inside, outside = confidence_score(own), confidence_score(other)
        for measure in (auroc, fpr95):
            value = measure(inside, outside)
            self.value(f"ood_{measure.__name__}_{name}", value, len(own) + len(other))

    def mean(self, name: str, per_example: np.ndarray) -> None:
        """The mean of a per-example measure of the clean images."""
        self.value(name, np.mean(per_example, dtype=np.float64), len(per_example))

    def value(self, name: str, value: float, count: int, condition: Condition = CLEAN) -> None:
        """One number."""
        corruption, severity = condition
        self.found.metrics.append(
            {
                "corruption": corruption,
                "severity": int(severity),
                "metric": name,
                "value": float(value),
                "count": int(count),
            }
        )


def class_accuracy(logits: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy of each class, and how many examples it has, `[K]` each; NaN where it has none.

    Args:
      logits, label: `[N, K]`. An example belongs to the label's largest class and counts with the
        label's mass on the prediction, or 0 where a logit is NaN, as in `accuracy`.

    >>> logits, label = np.eye(3)[[0, 1, 1, 2]], np.eye(3)[[0, 0, 1, 2]]
    >>> [array.tolist() for array in class_accuracy(logits, label)]
    [[0.5, 1.0, 1.0], [2, 1, 1]]
    """
    predicted = logits.argmax(axis=1)
    correct = np.take_along_axis(label, predicted[:, None], axis=1)[:, 0].astype(np.float64)
    correct = np.where(np.isnan(logits).any(axis=1), 0.0, correct)
    classes = label.argmax(axis=1)
    count = np.bincount(classes, minlength=label.shape[1])
    with np.errstate(invalid="ignore"):
        return np.bincount(classes, correct, label.shape[1]) / count, count


def rows(
    evaluation: Evaluation,
    *,
    run: str,
    method: str,
    seed: int,
    step: int,
    dataset: str,
    split: str = "test",
    corruption_source: str = "",
    frost_source: str = "",
) -> list[dict[str, Any]]:
    """The evaluation as lines of a results file, each with the fields that identify the run.

    Rows of corrupted images say where these come from; those of frost, where its textures do.
    """
    whose = {"run": run, "method": method, "seed": seed, "step": step}
    whose |= {"dataset": dataset, "split": split}
    lines = [{**whose, **metric} for metric in evaluation.metrics]
    for line in lines:
        if line["corruption"] != "none" and corruption_source:
            line["corruption_source"] = corruption_source
        if line["corruption"] == "frost" and frost_source:
            line["frost_source"] = frost_source
    return lines


def reliability_arrays(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Reliability bins as `artifacts.npz` keeps them: of the clean images, if they were measured,
    and of the fifteen corruptions together (`reliability_corrupted_*`)."""
    corrupted = [bins for (name, _), bins in evaluation.bins.items() if name in corruptions.NAMES]
    arrays: dict[str, np.ndarray] = {}
    if CLEAN in evaluation.bins:
        arrays |= _reliability(evaluation.bins[CLEAN], "reliability")
    if corrupted:
        arrays |= _reliability(merge(*corrupted), "reliability_corrupted")
    return arrays


def _reliability(bins: Bins, name: str) -> dict[str, np.ndarray]:
    count = np.maximum(np.asarray(bins.count), 1.0)
    return {
        f"{name}_count": np.asarray(bins.count),
        f"{name}_confidence": np.asarray(bins.confidence) / count,
        f"{name}_accuracy": np.asarray(bins.correct) / count,
    }
