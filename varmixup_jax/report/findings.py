"""Three sentences that say which method is best, by how much, and whether that is significant."""

from __future__ import annotations

import math
from collections.abc import Sequence

from varmixup_jax.report.measures import Board, Group, Stat
from varmixup_jax.report.significance import Pair
from varmixup_jax.report.tables import Cell, Column, Grid, columns

LEVEL = 0.05  # a smaller p-value is called a difference


def sentences(board: Board, pairs: Sequence[Pair]) -> list[str]:
    """One on clean accuracy, one on corruptions, one on calibration and linearity.

    Each compares the best mean with the reference group (`Board.reference`) or, if that is the best,
    with the second best.

    Args:
      board: the finished runs of a data set.
      pairs: their paired tests, for runs that have logits.
    """
    found = {column.key: column for column in columns(board)}
    told = [
        _accuracy(board, found.get("clean"), "On clean images", "clean", pairs),
        _accuracy(board, found.get("corrupted"), "Under corruption", "corrupted", pairs),
        _errors(board, [found[key] for key in ("ece", "linearity") if key in found]),
    ]
    return [sentence for sentence in told if sentence]


def table(board: Board, pairs: Sequence[Pair]) -> Grid | None:
    """The paired comparisons with the reference as a table; None if there are none."""
    if not pairs:
        return None
    theirs = pairs[0].theirs.short
    headings = (
        "Method", f"Clean acc. − {theirs} (points)", "Correct by it alone", f"Correct by {theirs} alone",
        "McNemar p", f"Corrupted acc. − {theirs} (points)", "95 % interval",
    )  # fmt: skip
    rows = []
    for pair in pairs:
        mean, *ends = map(_signed, pair.corrupted) if pair.corrupted else "––"
        counts = [str(pair.only_ours), str(pair.only_theirs), _p(pair.p).removeprefix("= ")]
        cells = [pair.ours.short, _signed(pair.clean), *counts, mean, " to ".join(ends)]
        rows.append(tuple(map(Cell, cells)))
    seeds = ", ".join(map(str, sorted({pair.seed for pair in pairs})))
    remark = (
        f"The same {pairs[0].images:,} test images, seed {seeds}: McNemar's exact test of the clean "
        "predictions; percentile bootstrap over images of the mean over 15 corruptions × 5 "
        "severities. They speak of these images, not of what another seed would give, and are not "
        "corrected for the number of rows."
    )
    return Grid(board.title, headings, tuple(rows), (remark,))


def _accuracy(
    board: Board, column: Column | None, where: str, kind: str, pairs: Sequence[Pair]
) -> str:
    if column is None:
        return ""
    ranked = _ranked(board, column)
    if not ranked:
        return ""
    (best, top), *_ = ranked
    value = f"{100 * top.mean:.1f} %"
    if len(ranked) == 1:
        spread = "" if top.std is None else f" ± {100 * top.std:.1f} over {top.n} seeds"
        return f"{best.short} classifies {value}{spread} of the {kind} test images correctly."
    other, low = ranked[1]
    ahead = 100 * (top.mean - low.mean)
    if round(ahead, 1) == 0:
        return f"{where}, {best.short} and {other.short} are level at {value}."
    claim = f"{where}, {best.short} is best with {value}, {ahead:.1f} points above {other.short}"
    return f"{claim} ({100 * low.mean:.1f} %): {_allowed(column, best, other, top, low, pairs)}."


def _errors(board: Board, measures: Sequence[Column]) -> str:
    """Smallest calibration error and smallest local linearity error, each next to the reference's."""
    told: list[tuple[str, str]] = []  # a claim, and what the seeds say about it
    for column in measures:
        ranked = _ranked(board, column)
        if not ranked:
            continue
        name = "calibration error" if column.key == "ece" else "local linearity error"
        (best, top), *_ = ranked
        text = f"{column.text(top._replace(std=None), top.n)} {column.unit}"
        if len(ranked) == 1:
            told.append((f"{name} of {best.short} is {text}", ""))
            continue
        other, value = ranked[1]
        theirs = f"{column.text(value._replace(std=None), value.n)} {column.unit}"
        if text == theirs:
            told.append((f"{name} of {best.short} and {other.short} is equal at {text}", ""))
            continue
        claim = f"{name} is lowest for {best.short} ({text}; {other.short} {theirs})"
        told.append((claim, f": {_seeds(top, value)}"))
    if len({doubt for _, doubt in told}) > 1:
        return f"{_first('; '.join(map(''.join, told)))}."
    return f"{_first(', '.join(claim for claim, _ in told))}{told[0][1]}." if told else ""


def _ranked(board: Board, column: Column) -> list[tuple[Group, Stat]]:
    """The best mean, the one it is compared with, then the other groups that have the measure."""
    found = [(group, group.stat(*column.number)) for group in board.groups]
    known = [(group, stat) for group, stat in found if stat and math.isfinite(stat.mean)]
    known.sort(key=lambda pair: pair[1].mean * (-1 if column.better == "high" else 1))
    return known[:1] + sorted(known[1:], key=lambda pair: pair[0] is not board.reference)


def _allowed(
    column: Column, best: Group, other: Group, top: Stat, low: Stat, pairs: Sequence[Pair]
) -> str:
    """What the seeds or, failing that, the paired test on the same images say about a difference."""
    both = {best.label, other.label}
    pair = next((p for p in pairs if {p.ours.label, p.theirs.label} == both), None)
    if pair is None or (top.n > 1 and low.n > 1):
        return _seeds(top, low)
    if column.key == "clean":
        surely, how = pair.p < LEVEL, f"McNemar p {_p(pair.p)}"
    elif pair.corrupted is None:
        return _seeds(top, low)
    else:
        _, *ends = pair.corrupted
        least, most = sorted(ends) if pair.ours is best else sorted(-end for end in ends)
        surely, how = least > 0, f"95 % interval {_signed(least)} to {_signed(most)} points"
    verdict = "more than chance" if surely else "no more than chance would give"
    return f"on the same {pair.images:,} images {verdict} ({how}), one seed each"


def _seeds(top: Stat, low: Stat) -> str:
    """Welch's test between the seeds of two groups, in words."""
    if top.std is None or low.std is None:
        seeds = "one seed each" if top.n == low.n == 1 else f"{top.n} and {low.n} seeds"
        return f"{seeds}, too few to say whether another would agree"
    if top.std == low.std == 0:
        p = float(top.mean == low.mean)
    else:
        from scipy import stats  # slow to import

        p = float(
            stats.ttest_ind_from_stats(
                top.mean, top.std, top.n, low.mean, low.std, low.n, equal_var=False
            ).pvalue
        )
    verdict = "more than the seeds vary" if p < LEVEL else "no more than the seeds vary"
    return f"{verdict} ({top.n} and {low.n} seeds, Welch p {_p(p)})"


def _signed(fraction: float) -> str:
    return f"{100 * fraction:+.1f}".replace("-", "−")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def _first(text: str) -> str:
    return text[:1].upper() + text[1:]
