"""The numbers behind the charts: training curves over seeds, pooled reliability bins.

A curve is a DataFrame with columns `mean` and `std` (0 for one seed), indexed by x.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from varmixup_jax.report.measures import Group, Stat, over_runs, radii
from varmixup_jax.report.names import SEVERITIES

MOST_POINTS = 120  # per curve: more than a chart of this size can show


class Reliability(NamedTuple):
    """Per confidence bin the number of examples, their mean confidence and their accuracy."""

    count: np.ndarray  # type: ignore[assignment]
    confidence: np.ndarray
    accuracy: np.ndarray


def training_curve(name: str, group: Group) -> pd.DataFrame | None:
    """The mean over seeds of one key of `metrics.jsonl` against the step.

    Each run is first averaged within each of at most `MOST_POINTS` equal intervals of steps, so that
    runs with different log intervals line up. None if no run has the key.
    """
    points = pd.DataFrame(
        [
            (number, line["step"], float(line[name]))
            for number, run in enumerate(group.runs)
            for line in run.metrics
            if _is_number(line.get(name))
        ],
        columns=["run", "step", "value"],
    )
    if points.empty:
        return None
    first, last = points.step.min(), points.step.max()
    stretch = ((points.step - first) / max((last - first + 1) / MOST_POINTS, 1.0)).astype(int)
    means = over_runs(points.groupby([stretch, "run"]).value.mean().groupby(level=0))
    return curve(means.set_index(points.groupby(stretch).step.mean()))


def curve(stats: pd.DataFrame) -> pd.DataFrame | None:
    """The points of `stats`, as returned by `over_runs`, with a finite mean; None if none has."""
    points = stats.dropna(subset="mean").fillna({"std": 0.0})
    return None if points.empty else points


def reliability(artifacts: Iterable[Mapping[str, np.ndarray]], kind: str) -> Reliability | None:
    """Pools the bins of several seeds: counts add, means are weighted by count.

    Args:
      artifacts: the arrays of each run.
      kind: "reliability" (clean) or "reliability_corrupted".

    Returns:
      The pooled bins; None if no run has them or all are empty. Runs whose number of bins differs
      from the first run's are left out.
    """
    names = [f"{kind}_{part}" for part in ("count", "confidence", "accuracy")]
    found = [np.array([a[n] for n in names], float) for a in artifacts if set(names) <= set(a)]
    found = [np.nan_to_num(bins) for bins in found if bins.shape == found[0].shape]
    count = np.sum([bins[0] for bins in found], axis=0)
    if not np.sum(count) > 0:
        return None
    confidence, accuracy = np.sum([bins[0] * bins[1:] for bins in found], axis=0)
    safe = np.maximum(count, 1.0)
    return Reliability(count, confidence / safe, accuracy / safe)


def gap_curve(group: Group) -> pd.DataFrame | None:
    """The signed calibration gap over severity: 0 is clean, then means over the 15 corruptions.

    None without corruptions: the clean gap alone is not a curve.
    """
    conditions = ["clean", *(f"severity {s}" for s in SEVERITIES)]
    found = _through({x: group.stat("calibration_gap", c) for x, c in enumerate(conditions)})
    return found if found is not None and found.index.max() > 0 else None


def linearity_curve(group: Group) -> pd.DataFrame | None:
    """The local linearity error over ε, in units of 1/255."""
    return _through({eps: group.stat(name) for eps, name in radii(group.stats).items()})


def _through(stats: Mapping[float, Stat | None]) -> pd.DataFrame | None:
    found = {x: stat for x, stat in stats.items() if stat is not None}
    return curve(pd.DataFrame(found.values(), found.keys(), Stat._fields).astype(float))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
