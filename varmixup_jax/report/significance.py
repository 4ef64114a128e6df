"""Whether two runs differ on the same test images: McNemar's test and a paired bootstrap.

Both use each image's outcome from the runs' `logits.npz`, so that its difficulty cancels. They are
about the images, not about seeds: another seed gives another classifier.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import bdtr

from varmixup_jax import logits_file
from varmixup_jax.report.measures import Board, Group
from varmixup_jax.report.names import BENCHMARK, SEVERITIES
from varmixup_jax.report.rows import Run

RESAMPLES = 2000  # of the bootstrap
CELLS = [(name, severity) for name in BENCHMARK for severity in SEVERITIES]


class Outcomes(NamedTuple):
    """Per test image: its label, whether it is correct, and the fraction of the 75 views that are.

    `corrupted` is None if not all views were saved.
    """

    labels: np.ndarray
    clean: np.ndarray
    corrupted: np.ndarray | None


class Pair(NamedTuple):
    """A run against the baseline's on the same images; differences are fractions, ours - theirs.

    Attributes:
      ours, theirs: the groups; `seed`: of the two runs.
      images: how many.
      only_ours, only_theirs: images that one of the two classifies correctly and the other does not.
      clean: difference of the clean accuracies, and `p`, McNemar's exact two-sided p-value.
      corrupted: difference of the corrupted means with the ends of its 95 % interval, or None.
    """

    ours: Group
    theirs: Group
    seed: int
    images: int
    only_ours: int
    only_theirs: int
    clean: float
    p: float
    corrupted: tuple[float, float, float] | None


def pairs(board: Board) -> list[Pair]:
    """Every other group against the baseline's, at the first seed for which both have logits."""
    theirs = board.reference
    others = [group for group in board.groups if group is not theirs]
    tried = [(compared(ours, theirs, run) for run in ours.runs) for ours in others if theirs]
    found = [next(filter(None, pairs_of_a_group), None) for pairs_of_a_group in tried]
    return [pair for pair in found if pair is not None]


def outcomes(run: Run) -> Outcomes | None:
    """The outcomes per image in a run's `logits.npz`; None without the file or its clean images.

    Raises:
      ValueError: the file is damaged, or an array is not what it must be.
    """
    path = run.path / logits_file.FILE
    found = logits_file.read(path) if path.is_file() else {}
    if ("none", 0) not in found:
        return None
    right = {name: part.logits.argmax(axis=1) == part.labels for name, part in found.items()}
    labels, whole = found["none", 0].labels, set(CELLS) <= set(found)
    # Corrupted views of another set of images cannot be paired with the clean ones.
    same = whole and len({len(right[cell]) for cell in CELLS}) == 1
    corrupted = np.mean([right[cell] for cell in CELLS], axis=0) if same else None
    return Outcomes(labels, right["none", 0], corrupted)


def compared(group: Group, reference: Group, run: Run) -> Pair | None:
    """A run of the group against the reference's of the same seed; None without a matching one."""
    other = next((each for each in reference.runs if each.seed == run.seed), None)
    ours, theirs = outcomes(run), outcomes(other) if other else None
    if ours is None or theirs is None or not np.array_equal(ours.labels, theirs.labels):
        return None
    only_ours = int(np.sum(ours.clean & ~theirs.clean))
    only_theirs = int(np.sum(theirs.clean & ~ours.clean))
    clean = float(np.mean(ours.clean) - np.mean(theirs.clean))
    first, second, corrupted = ours.corrupted, theirs.corrupted, None
    if first is not None and second is not None and len(first) == len(second):
        corrupted = bootstrap(first - second)
    p, images = mcnemar(only_ours, only_theirs), len(ours.labels)
    return Pair(group, reference, run.seed, images, only_ours, only_theirs, clean, p, corrupted)


def mcnemar(only_ours: int, only_theirs: int) -> float:
    """Exact two-sided p-value of the hypothesis that each classifier alone is right equally often.

    References: McNemar 1947; for classifiers Dietterich 1998, section 3.1 (here exact, binomial).

    >>> round(mcnemar(8, 2), 6), mcnemar(0, 0)
    (0.109375, 1.0)
    """
    discordant = only_ours + only_theirs
    return min(1.0, 2.0 * float(bdtr(min(only_ours, only_theirs), discordant, 0.5)))


def bootstrap(difference: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """The mean of per-image differences `[N]` and the ends of its 95 % percentile interval.

    References: Efron and Tibshirani 1993, chapter 13.
    """
    rng, n = np.random.default_rng(seed), len(difference)
    means = [difference[rng.integers(n, size=n)].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(difference.mean()), float(low), float(high)
