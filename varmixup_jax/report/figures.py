"""Dots and lines: measures with their spread, training curves, calibration, linearity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from varmixup_jax.report.columns import Column
from varmixup_jax.report.labels import SEPARATOR
from varmixup_jax.report.measures import Board, Stat
from varmixup_jax.report.paper_numbers import MEASURES
from varmixup_jax.report.results_table import paper_row
from varmixup_jax.report.series import Curve, Reliability
from varmixup_jax.report.style import GRID, INK, MUTED, PAPER, Style, panel


class Dot(NamedTuple):
    """One row of a dot chart, in the column's printed scale."""

    label: str
    style: Style
    stat: Stat
    seeds: tuple[float, ...]
    paper: tuple[float, float] | None


def dots(column: Column, board: Board, look: Mapping[str, Style]) -> list[Dot]:
    """The rows of a dot chart of one measure, with the paper's accuracies where it has them."""
    found = []
    for group in board.groups:
        stat = group.stat(*column.number)
        if stat is None or math.isnan(stat.mean):
            continue
        spread = None if stat.std is None else stat.std * column.scale
        scaled = Stat(stat.mean * column.scale, spread, stat.n)
        each = tuple(n[column.number] * column.scale for n in group.numbers if column.number in n)
        row = paper_row(board, group)
        paper = row.of(column.key) if row is not None and column.key in MEASURES else None
        found.append(Dot(group.label, look[group.label], scaled, each, paper))
    return found


def dot_chart(column: Column, rows: Sequence[Dot]) -> Figure:
    """One measure of all methods: mean with ± std, each seed as a small dot, the paper's hollow."""
    with panel(column.heading, height=0.75 + 0.29 * max(len(rows), 3)) as (figure, axes):
        for y, row in enumerate(rows):
            axes.hlines(y, *_span(rows), color=GRID, linewidth=0.8, zorder=1)
            if len(row.seeds) > 1:
                axes.plot(
                    row.seeds, [y] * len(row.seeds), "o", color=row.style.light, markersize=2.6,
                    alpha=0.55, zorder=2,
                )  # fmt: skip
            axes.errorbar(
                row.stat.mean, y, xerr=row.stat.std, color=row.style.light, marker=row.style.marker,
                markersize=7, elinewidth=1.8, capsize=3, zorder=3,
            )  # fmt: skip
            if row.paper is not None:
                axes.errorbar(
                    row.paper[0], y, xerr=row.paper[1], color=MUTED, marker="D", markersize=5.5,
                    markerfacecolor=PAPER, elinewidth=1.0, zorder=2,
                )  # fmt: skip
        axes.set_yticks(range(len(rows)), [wrapped(row.label) for row in rows], linespacing=0.95)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(*_span(rows))
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6))
    return figure


def line_chart(
    title: str,
    lines: Sequence[tuple[Style, Curve]],
    xlabel: str,
    ylabel: str,
    *,
    markers: bool = False,
    percent: bool = False,
    zero: bool = False,
    logarithmic: bool = False,
) -> Figure:
    """Curves with a band of ± std over seeds.

    Args:
      title: above the axes.
      lines: what to draw, one style each.
      xlabel: with its unit.
      ylabel: with its unit.
      markers: mark the points (for few points).
      percent: multiply values by 100.
      zero: draw the line y = 0.
      logarithmic: a logarithmic y axis.
    """
    scale = 100.0 if percent else 1.0
    with panel(title) as (figure, axes):
        if zero:
            axes.axhline(0.0, color=MUTED, linewidth=1.1)
        for style, points in lines:
            mean, low, high = ([scale * v for v in part] for part in points[1:])
            alone = markers or len(points.x) == 1
            axes.plot(
                points.x, mean, color=style.light, linestyle=style.dash,
                marker=style.marker if alone else None,
            )  # fmt: skip
            if low != high:
                if logarithmic:  # a band that reaches 0 has no lower edge on this axis
                    low = [max(a, 0.1 * b) for a, b in zip(low, mean, strict=True)]
                axes.fill_between(points.x, low, high, color=style.light, alpha=0.14, linewidth=0)
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.margins(x=0.02)
        whole = all(float(x).is_integer() for _, points in lines for x in points.x)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole))
    return figure


def reliability_chart(
    title: str, style: Style, clean: Reliability | None, corrupted: Reliability | None
) -> Figure:
    """Accuracy against confidence per bin: bars for clean images, dots for corrupted ones.

    The thin bars along the bottom are the share of the examples in each bin (of the clean images
    where there are some).
    """
    with panel(title, height=3.5) as (figure, axes):
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1.1, linestyle=(0, (3, 2)))
        texts = []
        if clean is not None:
            width = 100 / len(clean.count)
            centres = [width * (m + 0.5) for m in range(len(clean.count))]
            filled = [m for m, count in enumerate(clean.count) if count > 0]
            axes.bar(
                [centres[m] for m in filled], [100 * clean.accuracy[m] for m in filled],
                width=0.9 * width, color=style.light, alpha=0.55,
            )  # fmt: skip
            for m in filled:  # the gap between what the bin claims and what it reaches
                span = [100 * clean.confidence[m], 100 * clean.accuracy[m]]
                axes.plot([centres[m]] * 2, span, color=INK, linewidth=1.2, solid_capstyle="butt")
            texts.append(f"clean ECE {100 * clean.ece:.2f} %")
        if corrupted is not None:
            full = corrupted.count > 0
            axes.plot(
                100 * corrupted.confidence[full], 100 * corrupted.accuracy[full], "-",
                color=INK, linewidth=0.9, marker="o", markersize=4, markerfacecolor=PAPER,
            )  # fmt: skip
            texts.append(f"corrupted ECE {100 * corrupted.ece:.2f} %")
        _shares(axes, clean if clean is not None else corrupted)
        axes.text(2, 98, "\n".join(texts), va="top", fontsize=9)
        axes.set(xlim=(0, 100), ylim=(-14, 100), xlabel="confidence (%)", ylabel="accuracy (%)")
        axes.set_yticks(range(0, 101, 20))
    return figure


def _shares(axes: Axes, bins: Reliability | None) -> None:
    if bins is None:
        return
    width = 100 / len(bins.count)
    heights = 12 * bins.count / bins.count.max()
    centres = [width * (m + 0.5) for m in range(len(bins.count))]
    axes.bar(centres, heights, bottom=-14, width=0.9 * width, color=MUTED, alpha=0.7)
    axes.axhline(0, color=MUTED, linewidth=0.6)


def _span(rows: Sequence[Dot]) -> tuple[float, float]:
    values = [v for row in rows for v in (*row.seeds, row.stat.mean)]
    for row in rows:
        spread = row.stat.std or 0.0
        values += [row.stat.mean - spread, row.stat.mean + spread]
        if row.paper is not None:
            values += [row.paper[0] - row.paper[1], row.paper[0] + row.paper[1]]
    margin = 0.06 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 1.0
    return min(values) - margin, max(values) + margin


def short(label: str, most: int = 30) -> str:
    """A label cut to `most` characters."""
    return label if len(label) <= most else label[: most - 1] + "…"


def wrapped(label: str, most: int = 22) -> str:
    """A label on as many lines as it needs, broken between its settings, each line cut as `short`.

    >>> print(wrapped("varmixup · clean 0.5 · VAE 8×8×4"))
    varmixup · clean 0.5
    · VAE 8×8×4
    """
    first, *words = label.split(SEPARATOR)
    lines = [first]
    for word in words:
        if len(lines[-1]) + len(SEPARATOR) + len(word) <= most:
            lines[-1] += SEPARATOR + word
        else:
            lines.append(SEPARATOR.lstrip() + word)
    return "\n".join(map(short, lines))
