"""From rows to the numbers of a table: one run's measures, then mean ± std over seeds.

A number is identified by its measure and its condition: `("accuracy", "clean")`, `"fog 3"` (one
severity), `"fog"` (its five), `"severity 3"` (the 15 corruptions), `"noise"` (a kind, all
severities) or `"corrupted"` (the whole benchmark). There is no mean if one of its conditions is
missing; it is NaN if a value is not finite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from varmixup_jax.metric_names import linearity_name, linearity_radius
from varmixup_jax.report.labels import SEPARATOR, changed_settings, labels, short_names
from varmixup_jax.report.names import BENCHMARK, CORRUPTION_FAMILIES, KINDS, SEVERITIES, TITLES
from varmixup_jax.report.rows import Row, Run
from varmixup_jax.report.settings import identity

SPLITS = ("test", "validation", "val")  # the first one found in a data set's rows is reported
WORST_CASE = "adversarial_accuracy"  # correct under every attack of the run
_ADVERSARIAL = re.compile(r"a?pgd\d+.*_accuracy")
Numbers = Mapping[tuple[str, str], float]


class Stat(NamedTuple):
    """Mean over seeds, sample standard deviation (None for one seed), number of seeds."""

    mean: float
    std: float | None
    n: int


class Group(NamedTuple):
    """Runs that differ only in the seed: what one row of a table averages.

    Attributes:
      method: their method.
      label: the label of the row, see `labels`.
      short: the same in a chart or a sentence, see `short_names`.
      runs: one per seed.
      numbers: of each run.
      stats: mean ± std of each number over the runs that have it.
      changed: whether a setting of the method itself is not its default.
    """

    method: str
    label: str
    short: str
    runs: Sequence[Run]
    numbers: Sequence[Numbers]
    stats: Mapping[tuple[str, str], Stat]
    changed: bool = False

    def stat(self, measure: str, condition: str = "clean") -> Stat | None:
        """Mean ± std of a number; None if no run has it."""
        return self.stats.get((measure, condition))


class Board(NamedTuple):
    """All finished runs of one data set, grouped; `repeats` are left out of every mean."""

    dataset: str
    split: str
    groups: tuple[Group, ...]
    repeats: tuple[Run, ...]
    baseline: Run | None

    @property
    def title(self) -> str:
        """The title of the data set."""
        return TITLES.get(self.dataset, self.dataset)

    @property
    def reference(self) -> Group | None:
        """The group to compare with: the baseline's, else ERM's, else the first."""
        has = [g for g in self.groups if any(run is self.baseline for run in g.runs)]
        erm = [group for group in self.groups if group.method == "erm"]
        return next(iter([*has, *erm, *self.groups]), None)

    @property
    def seeds(self) -> int:
        """The largest number of seeds of a group."""
        return max((len(group.runs) for group in self.groups), default=0)


def numbers(run: Run, dataset: str, split: str) -> dict[tuple[str, str], float]:
    """Every measure of one run on one data set by its name and condition.

    If a condition was measured twice, as after a resume, the later line counts.
    """
    rows = pd.DataFrame(run.rows, columns=list(Row._fields)).astype({"value": float})
    rows = rows[(rows.dataset == dataset) & (rows.split == split)]
    rows = rows.assign(metric=[_one_spelling(metric) for metric in rows.metric])
    rows = rows.drop_duplicates(["metric", "corruption", "severity"], keep="last")
    clean, rest = rows[rows.corruption == "none"], rows[rows.corruption != "none"]
    severity = rest.severity.astype(str)
    known = rest.corruption.isin(BENCHMARK)
    kind = rest.corruption.map({name: kind for kind in KINDS for name in CORRUPTION_FAMILIES[kind]})
    size = kind.map({kind: len(CORRUPTION_FAMILIES[kind]) for kind in KINDS})
    long = pd.concat(
        [
            clean.assign(condition="clean", needed=1),
            rest[known].assign(condition="corrupted", needed=len(BENCHMARK) * len(SEVERITIES)),
            rest.assign(condition=kind, needed=size * len(SEVERITIES))[known],
            rest.assign(condition="severity " + severity, needed=len(BENCHMARK))[known],
            rest.assign(condition=rest.corruption, needed=len(SEVERITIES)),
            rest.assign(condition=rest.corruption + " " + severity, needed=1),
        ]
    )
    groups = long.groupby(["metric", "condition"], sort=False)
    found = over_runs(groups.value).assign(needed=groups.needed.first())
    return found.loc[found.n == found.needed, "mean"].to_dict()


def mean_of_some(numbers: Numbers, metric: str = "accuracy") -> tuple[str, float] | None:
    """Mean over the measured conditions of the benchmark, if these are not all 75.

    Not comparable with the mean over all: the text returned first says what it covers.

    >>> mean_of_some({("accuracy", f"fog {level}"): level / 10 for level in (1, 3, 5)})
    ('mean of 3 of 75 conditions, of 1 of 15 corruptions: fog', 0.3)
    """
    found = {
        (name, level): numbers[metric, f"{name} {level}"]
        for name in BENCHMARK
        for level in SEVERITIES
        if (metric, f"{name} {level}") in numbers
    }
    every = len(BENCHMARK) * len(SEVERITIES)
    if not 0 < len(found) < every:
        return None
    names = list(dict.fromkeys(name for name, _ in found))
    text = f"{len(names)} of {len(BENCHMARK)} corruptions: {', '.join(names)}"
    if len(names) == len(BENCHMARK):
        text = f"{len(found)} of {every} conditions"
    elif len(found) < len(names) * len(SEVERITIES):
        text = f"{len(found)} of {every} conditions, of {text}"
    return f"mean of {text}", math.fsum(found.values()) / len(found)


def over_runs(values: Any) -> pd.DataFrame:
    """Mean, sample standard deviation and count of each group of values; NaN if a value is NaN.

    Args:
      values: a pandas Series of floats, grouped.

    Returns:
      Columns `mean`, `std` (NaN also for a single value) and `n`.
    """
    finite = values.count() == values.size()  # pandas would skip NaN
    return pd.DataFrame(
        {
            "mean": values.mean().where(finite),
            "std": values.std(ddof=1).where(finite),
            "n": values.size(),
        }
    )


def group(
    runs: Sequence[Run], label: str, short: str, board: Board, base: Numbers | None = None
) -> Group:
    """One row: the runs' numbers on the board's data set, including wall time and mCE.

    Args:
      runs: of one configuration, with different seeds.
      label: the label of the row, and `short` that in charts.
      board: names the data set and the split.
      base: the numbers of the run that mCE is relative to; None leaves mCE out.
    """
    found = [numbers(run, board.dataset, board.split) for run in runs]
    for run, own in zip(runs, found, strict=True):
        wall = run.summary.get("wall_seconds")
        if isinstance(wall, (int, float)):
            own["wall_seconds", "clean"] = float(wall)
        relative = mce(own, base) if base else None
        if relative is not None:
            own["mce", "corrupted"] = relative
    each = [item for own in found for item in own.items()]
    frame = pd.DataFrame(each, columns=["key", "value"]).astype({"value": float})
    stats = {
        key: Stat(mean, None if math.isnan(std) else std, int(n))
        for key, mean, std, n in over_runs(frame.groupby("key").value).itertuples(name=None)
    }
    changed = bool(changed_settings(runs[0]))
    return Group(runs[0].method, label, short, runs, found, stats, changed)


def mce(ours: Numbers, theirs: Numbers) -> float | None:
    """Mean corruption error against a baseline, 1 for the baseline itself.

    mCE = mean over c of Σ_s E(c, s) / Σ_s E_baseline(c, s), E = 1 − accuracy, over the 15.
    None unless both runs have all 75 conditions, or if the baseline makes no error at all.

    References: Hendrycks and Dietterich 2019, section 4.
    """
    keys = [("accuracy", name) for name in BENCHMARK]
    if not all(key in ours and key in theirs and theirs[key] != 1.0 for key in keys):
        return None
    return sum((1.0 - ours[key]) / (1.0 - theirs[key]) for key in keys) / len(keys)


def radii(numbers: Iterable[tuple[str, str]]) -> dict[float, str]:
    """The measures of local linearity by their radius ε in units of 1/255, smallest first."""
    clean = dict.fromkeys(measure for measure, condition in numbers if condition == "clean")
    found = {eps: name for name in clean if (eps := linearity_radius(name)) is not None}
    return dict(sorted(found.items()))


def board(runs: Iterable[Run], dataset: str, baseline: str | None = None) -> Board:
    """Groups the finished runs of `dataset` by method and configuration.

    Two runs whose configurations differ in more than the seed are never averaged: they become
    separate rows, labelled by their unusual settings. Of two runs with the same configuration and
    seed the first counts. Of the variants of a method the one with the fewest words in its label
    comes first.

    Args:
      runs: in the order in which their methods are to appear.
      dataset: the data set's name.
      baseline: the name of the run that mCE is relative to; None leaves mCE out.
    """
    runs = [run for run in runs if run.done and dataset in run.datasets]
    present = {row.split for run in runs for row in run.rows if row.dataset == dataset}
    split = next((s for s in (*SPLITS, *sorted(present)) if s in present), SPLITS[0])
    base = next((run for run in runs if run.name == baseline), None)
    if not runs:
        return Board(dataset, split, (), (), base)
    frame = pd.DataFrame({"run": runs})
    frame["settings"] = [(run.method, identity(run.config)) for run in runs]
    frame["seed"] = [run.seed for run in runs]
    repeated = frame.duplicated(["settings", "seed"])
    empty = Board(dataset, split, (), tuple(frame.run[repeated]), base)
    lists = [list(part.run) for _, part in frame[~repeated].groupby("settings", sort=False)]
    names = labels([members[0] for members in lists])
    methods = list(dict.fromkeys(run.method for run in runs))
    order = sorted(
        zip(names, short_names(names), lists, strict=True),
        key=lambda row: (methods.index(row[2][0].method), row[0].count(SEPARATOR)),
    )
    theirs = None if base is None else numbers(base, dataset, split)
    groups = tuple(group(m, name, short, empty, theirs) for name, short, m in order)
    return empty._replace(groups=groups)


def adversarial_metrics(groups: Iterable[Numbers]) -> list[str]:
    """Names of the adversarial accuracies that any run has: weakest attack first, worst case last."""
    names = {measure for numbers in groups for measure, _ in numbers}
    attacks = [name for name in names if _ADVERSARIAL.fullmatch(name)]
    attacks.sort(key=lambda n: (n.startswith("a"), int(re.findall(r"\d+", n)[0]), n))
    return attacks + [name for name in (WORST_CASE,) if name in names]


def _one_spelling(metric: str) -> str:
    """Gives measures of local linearity at the same radius the same name, however it was written."""
    eps = linearity_radius(metric)
    return metric if eps is None else linearity_name(eps / 255)
