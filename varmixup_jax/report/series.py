"""The numbers behind the charts: training curves over seeds, pooled reliability bins."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from varmixup_jax.report.measures import Group, Stat, summarize
from varmixup_jax.report.rows import Run

MOST_POINTS = 120  # of one curve: more than a chart of this size can show


class Curve(NamedTuple):
    """Points of a line with the spread over seeds: `low` and `high` are mean ∓ std."""

    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class Reliability(NamedTuple):
    """Per confidence bin the number of examples, their mean confidence and their accuracy."""

    count: np.ndarray  # type: ignore[assignment]
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def ece(self) -> float:
        """Σ_m n_m/n · |accuracy_m − confidence_m|."""
        gap = np.abs(self.accuracy - self.confidence)
        return float(np.sum(self.count * gap) / np.sum(self.count))


def training_curve(runs: Iterable[Run], name: str) -> Curve | None:
    """The mean over seeds of one key of `metrics.jsonl` against the step.

    Each run is first averaged within each of at most `MOST_POINTS` equal stretches of the steps,
    so that runs with other log intervals still meet. None where no run has the key.
    """
    pairs = [
        [(line["step"], line[name]) for line in run.metrics if _is_number(line.get(name))]
        for run in runs
    ]
    pairs = [points for points in pairs if points]
    if not pairs:
        return None
    steps = sorted({step for points in pairs for step, _ in points})
    width = max((steps[-1] - steps[0] + 1) / MOST_POINTS, 1.0)
    means: dict[int, list[float]] = {}
    places: dict[int, list[int]] = {}
    for points in pairs:
        bins: dict[int, list[float]] = {}
        for step, value in points:
            number = int((step - steps[0]) / width)
            bins.setdefault(number, []).append(value)
            places.setdefault(number, []).append(step)
        for number, values in bins.items():
            means.setdefault(number, []).append(statistics.fmean(values))
    order = sorted(means)
    stats = [summarize(means[number]) for number in order]
    return curve([statistics.fmean(places[number]) for number in order], stats)


def curve(x: Sequence[float], stats: Sequence[Stat | None]) -> Curve | None:
    """A curve through the points that have a finite mean; None where none has."""
    points = [(a, s) for a, s in zip(x, stats, strict=True) if s and math.isfinite(s.mean)]
    if not points:
        return None
    means = tuple(s.mean for _, s in points)
    spreads = [s.std or 0.0 for _, s in points]
    return Curve(
        tuple(float(a) for a, _ in points),
        means,
        tuple(m - d for m, d in zip(means, spreads, strict=True)),
        tuple(m + d for m, d in zip(means, spreads, strict=True)),
    )


def reliability(artifacts: Iterable[Mapping[str, np.ndarray]], kind: str) -> Reliability | None:
    """Pools the bins of several seeds: counts add, means are weighted by count.

    Args:
      artifacts: the arrays of each run.
      kind: "reliability" (clean) or "reliability_corrupted".

    Returns:
      The pooled bins, None where no run has them or all are empty. Runs whose number of bins is not
      that of the first are left out.
    """
    names = [f"{kind}_{part}" for part in ("count", "confidence", "accuracy")]
    found = [[np.asarray(a[n], float) for n in names] for a in artifacts if set(names) <= set(a)]
    found = [arrays for arrays in found if arrays[0].shape == found[0][0].shape]
    if not found:
        return None
    count = np.asarray(sum(arrays[0] for arrays in found))
    if not np.sum(count) > 0:
        return None
    totals = [
        sum(
            np.where(arrays[0] > 0, arrays[0] * np.nan_to_num(arrays[part]), 0.0)
            for arrays in found
        )
        for part in (1, 2)
    ]
    safe = np.maximum(count, 1.0)
    return Reliability(count, totals[0] / safe, totals[1] / safe)


def gap_curve(group: Group) -> Curve | None:
    """The signed calibration gap over severity: 0 is clean, then means over the 15 corruptions.

    None without corruptions: the clean gap alone is no curve.
    """

    def at(severity: int) -> Stat | None:
        return group.stat(lambda m: m.corrupted("calibration_gap", (severity,)))

    stats = [group.stat(lambda m: m.clean("calibration_gap")), *map(at, range(1, 6))]
    return curve(range(6), stats) if any(stats[1:]) else None


def linearity_curve(group: Group) -> Curve | None:
    """The local linearity error over ε, in units of 1/255."""
    radii = sorted({eps for member in group.members for eps in member.linearity()})

    def at(eps: float) -> Stat | None:
        return group.stat(lambda m: m.linearity().get(eps))

    return curve(radii, [at(eps) for eps in radii])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
