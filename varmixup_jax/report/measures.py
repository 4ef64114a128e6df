"""From rows to the numbers of a table: one run's measures, then mean ± std over seeds."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from varmixup_jax.metric_names import linearity_radius
from varmixup_jax.report.fields import identity
from varmixup_jax.report.labels import SEPARATOR, changed_settings, labels
from varmixup_jax.report.names import BENCHMARK, SEVERITIES
from varmixup_jax.report.rows import Run

SPLITS = ("test", "validation", "val")  # the first that a data set's rows have is the one reported
WORST_CASE = "adversarial_accuracy"  # right under every attack of the run
_ADVERSARIAL = re.compile(r"a?pgd\d+.*_accuracy")


class Stat(NamedTuple):
    """Mean over seeds, sample standard deviation (None for one seed), number of seeds."""

    mean: float
    std: float | None
    n: int


class Measures:
    """The measures of one run on one data set.

    Where a condition was measured twice, as after a resume, the later line counts.
    """

    def __init__(self, run: Run, dataset: str, split: str):
        self.run = run
        self._values = {
            (row.metric, row.corruption, row.severity): row.value
            for row in run.rows
            if row.dataset == dataset and row.split == split
        }

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all measures of the run."""
        return tuple(dict.fromkeys(metric for metric, _, _ in self._values))

    def clean(self, metric: str) -> float | None:
        """The value on the clean images."""
        return self._values.get((metric, "none", 0))

    def at(self, metric: str, corruption: str, severity: int) -> float | None:
        """The value under one corruption at one severity."""
        return self._values.get((metric, corruption, severity))

    def benchmark_cells(self, metric: str) -> int:
        """How many of the 15 × 5 conditions were measured."""
        return sum(self.at(metric, c, s) is not None for c in BENCHMARK for s in SEVERITIES)

    def corrupted(
        self, metric: str, severities: Sequence[int] = SEVERITIES, names: Sequence[str] = BENCHMARK
    ) -> float | None:
        """The mean over corruptions × severities, None unless every one of them was measured."""
        found = [self.at(metric, name, s) for name in names for s in severities]
        values = [value for value in found if value is not None]
        return statistics.fmean(values) if values and len(values) == len(found) else None

    def by_corruption(self, corruption: str) -> float | None:
        """The accuracy under one corruption, mean over the five severities."""
        return self.corrupted("accuracy", names=(corruption,))

    def linearity(self) -> dict[float, float]:
        """The local linearity error by ε in units of 1/255."""
        found = ((linearity_radius(metric), metric) for metric in self.metrics)
        pairs = {radius: self.clean(metric) for radius, metric in found if radius is not None}
        return {eps: value for eps, value in sorted(pairs.items()) if value is not None}

    def mce(self, baseline: Measures) -> float | None:
        """Mean corruption error against `baseline`, 1 for the baseline itself.

        mCE = mean over c of Σ_s E(c, s) / Σ_s E_baseline(c, s), E = 1 − accuracy, over the 15.
        None unless both runs have all 75 conditions, or where the baseline makes no error at all.

        References: Hendrycks and Dietterich 2019, section 4.
        """
        ratios = []
        for name in BENCHMARK:
            ours, theirs = self.by_corruption(name), baseline.by_corruption(name)
            if ours is None or theirs is None or theirs == 1.0:
                return None
            ratios.append((1.0 - ours) / (1.0 - theirs))
        return statistics.fmean(ratios)


class Group(NamedTuple):
    """Runs that differ in nothing but the seed: what one row of a table averages.

    Attributes:
      method: their method.
      label: what the row is called: see `labels`.
      members: one per seed.
      changed: whether a setting of the method itself is not its default.
    """

    method: str
    label: str
    members: tuple[Measures, ...]
    changed: bool = False

    def stat(self, value: Callable[[Measures], float | None]) -> Stat | None:
        """Mean ± std of `value` over the members that have it; None where none has."""
        found = [v for v in map(value, self.members) if v is not None]
        return summarize(found)


class Board(NamedTuple):
    """All finished runs of one data set, grouped; `repeats` are left out of every mean."""

    dataset: str
    split: str
    groups: tuple[Group, ...]
    repeats: tuple[Run, ...]
    baseline: Measures | None


def summarize(values: Sequence[float]) -> Stat | None:
    """Mean, sample standard deviation and count; None of no values.

    >>> summarize([1.0, 3.0])
    Stat(mean=2.0, std=1.4142135623730951, n=2)
    """
    if not values:
        return None
    if not all(map(math.isfinite, values)):
        return Stat(math.nan, None, len(values))
    spread = statistics.stdev(values) if len(values) > 1 else None
    return Stat(statistics.fmean(values), spread, len(values))


def board(runs: Iterable[Run], dataset: str, baseline: str | None = None) -> Board:
    """Groups the finished runs of `dataset` by method and configuration.

    Two runs whose configurations differ in more than the seed are never averaged: they become rows
    of their own, labelled by the settings in which they are out of the ordinary. Of two runs with
    the same configuration and the same seed the first counts. Of the variants of a method the one
    with the fewest words in its label comes first.

    Args:
      runs: in the order in which their methods shall stand.
      dataset: the data set's name.
      baseline: the name of the run that mCE is relative to; None leaves mCE out.
    """
    runs = [run for run in runs if run.done and dataset in run.datasets]
    present = {row.split for run in runs for row in run.rows if row.dataset == dataset}
    split = next((s for s in (*SPLITS, *sorted(present)) if s in present), SPLITS[0])
    kept: dict[tuple[str, str], dict[int, Run]] = {}
    repeats = []
    for run in runs:
        members = kept.setdefault((run.method, identity(run.config)), {})
        if run.seed in members:
            repeats.append(run)
        else:
            members[run.seed] = run
    lists = [list(members.values()) for members in kept.values()]
    firsts = [members[0] for members in lists]
    groups = [
        Group(
            first.method,
            label,
            tuple(Measures(run, dataset, split) for run in members),
            bool(changed_settings(first)),
        )
        for first, label, members in zip(firsts, labels(firsts), lists, strict=True)
    ]
    methods = list(dict.fromkeys(group.method for group in groups))
    groups.sort(key=lambda group: (methods.index(group.method), group.label.count(SEPARATOR)))
    base = next((Measures(run, dataset, split) for run in runs if run.name == baseline), None)
    return Board(dataset, split, tuple(groups), tuple(repeats), base)


def adversarial_metrics(groups: Iterable[Group]) -> list[str]:
    """Names of the adversarial accuracies that any run has: weakest attack first, worst case last."""
    names = {m for g in groups for member in g.members for m in member.metrics}
    attacks = [name for name in names if _ADVERSARIAL.fullmatch(name)]
    attacks.sort(key=lambda n: (n.startswith("a"), int(re.findall(r"\d+", n)[0]), n))
    return attacks + [name for name in (WORST_CASE,) if name in names]
