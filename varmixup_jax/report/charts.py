"""Every chart: measures with their spread, curves, calibration, accuracy under corruption."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import cm, colormaps, colors
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from varmixup_jax.report.labels import SEPARATOR
from varmixup_jax.report.measures import Board, Group, Stat
from varmixup_jax.report.names import CORRUPTION_FAMILIES, CORRUPTIONS, SEVERITIES
from varmixup_jax.report.series import Curve, Reliability
from varmixup_jax.report.style import GRID, INK, MUTED, PAPER, Style, panel
from varmixup_jax.report.tables import Column, paper_row

COLOURMAP = "cividis"  # even in lightness, the same to colour-blind readers
STEPS_OF_SCALE = 24  # patches of a colour bar
BAR_GROUP = 0.86  # share of a corruption's place that its bars fill
LOGARITHMIC_FROM = 20.0  # ratio of the greatest to the least value above which an axis may be


class Chart(NamedTuple):
    """A figure and what a screen reader says of it."""

    alt: str
    figure: Figure


class Dot(NamedTuple):
    """One row of a dot chart, in the column's printed scale."""

    name: str
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
        paper = (paper_row(board, group) or {}).get(column.key)
        found.append(Dot(group.short, look[group.label], scaled, each, paper))
    return found


def dot_chart(column: Column, rows: Sequence[Dot]) -> Chart:
    """One measure of all methods: mean with ± std, each seed as a small dot, the paper's hollow."""
    names = [wrapped(row.name) for row in rows]
    tall = max(0.29, 0.17 * max(name.count("\n") + 1 for name in names))
    span = _span(rows)
    with panel(column.heading, height=0.75 + tall * max(len(rows), 3)) as (figure, axes):
        for y, row in enumerate(rows):
            axes.hlines(y, *span, color=GRID, linewidth=0.8, zorder=1)
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
        axes.set_yticks(range(len(rows)), names, linespacing=0.95)
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlim=span)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6))
    told = ", ".join(f"{row.name} {row.stat.mean:.{column.digits}f}" for row in rows)
    return Chart(f"{column.heading}: {told}", figure)


def line_chart(
    title: str, lines: Sequence[tuple[str, Style, Curve]], xlabel: str, ylabel: str, *,
    markers: bool = False, percent: bool = False, zero: bool = False, logarithmic: bool = False,
) -> Chart:  # fmt: skip
    """Curves with a band of ± std over seeds.

    Args:
      title: above the axes.
      lines: what to draw: name, style and points.
      xlabel: with its unit.
      ylabel: with its unit.
      markers: mark the points (for few points).
      percent: multiply values by 100.
      zero: draw the line y = 0.
      logarithmic: a logarithmic y axis where the values, all positive, range far.
    """
    scale = 100.0 if percent else 1.0
    values = [value for _, _, curve in lines for value in curve.mean]
    logarithmic = logarithmic and min(values) > 0 and max(values) / min(values) > LOGARITHMIC_FROM
    with panel(title) as (figure, axes):
        if zero:
            axes.axhline(0.0, color=MUTED, linewidth=1.1)
        for _, style, points in lines:
            mean, low, high = (scale * np.array(part) for part in points[1:])
            alone = markers or len(points.x) == 1
            axes.plot(
                points.x, mean, color=style.light, linestyle=style.dash,
                marker=style.marker if alone else None,
            )  # fmt: skip
            if np.any(low != high):
                if logarithmic:  # a band that reaches 0 has no lower edge on this axis
                    low = np.maximum(low, 0.1 * mean)
                axes.fill_between(points.x, low, high, color=style.light, alpha=0.14, linewidth=0)
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.margins(x=0.02)
        whole = all(float(x).is_integer() for _, _, points in lines for x in points.x)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole))
    ends = ", ".join(f"{label} {scale * curve.mean[-1]:.3g}" for label, _, curve in lines)
    return Chart(f"{title}, {ylabel} by {xlabel}; last: {ends}", figure)


def reliability_chart(
    group: Group, style: Style, clean: Reliability | None, corrupted: Reliability | None
) -> Chart:
    """Accuracy against confidence per bin: bars for clean images, dots for corrupted ones.

    Bars and dots are the fainter the fewer images they stand for. The thin bars along the bottom are
    the share of the examples in each bin (of the clean images where there are some). The calibration
    errors are those of the table: means over seeds, and over the 75 conditions.
    """
    errors = {k: group.stat("ece", k) for k in ("clean", "corrupted")}
    texts = [f"{k} {100 * stat.mean:.1f} %" for k, stat in errors.items() if stat]
    below = f"\nECE: {', '.join(texts)}" if texts else ""
    with panel(wrapped(group.short, 40), height=3.6) as (figure, axes):
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1.1, linestyle=(0, (3, 2)))
        if clean is not None:
            width = 100 / len(clean.count)
            for m, alpha in enumerate(_weights(clean.count)):
                if clean.count[m] > 0:  # the stroke is the gap between what it claims and reaches
                    centre, accuracy = width * (m + 0.5), 100 * clean.accuracy[m]
                    axes.bar(centre, accuracy, 0.9 * width, color=style.light, alpha=0.65 * alpha)
                    axes.plot(
                        [centre] * 2, [100 * clean.confidence[m], accuracy], color=INK,
                        alpha=alpha, linewidth=1.2, solid_capstyle="butt",
                    )  # fmt: skip
        if corrupted is not None:
            full = corrupted.count > 0
            points = 100 * corrupted.confidence[full], 100 * corrupted.accuracy[full]
            axes.plot(*points, color=INK, linewidth=0.7, alpha=0.4)
            for x, y, alpha in zip(*points, _weights(corrupted.count)[full], strict=True):
                axes.plot(x, y, "o", color=INK, markersize=4, markerfacecolor=PAPER, alpha=alpha)
        bins = clean if clean is not None else corrupted
        if bins is not None:
            width = 100 / len(bins.count)
            heights = 12 * bins.count / bins.count.max()
            centres = width * (np.arange(len(bins.count)) + 0.5)
            axes.bar(centres, heights, bottom=-14, width=0.9 * width, color=MUTED, alpha=0.7)
            axes.axhline(0, color=MUTED, linewidth=0.6)
        axes.set(xlim=(0, 100), ylim=(-14, 100), ylabel="accuracy (%)")
        axes.set_xlabel(f"confidence (%){below}")
        axes.set_yticks(range(0, 101, 20))
    return Chart(f"Reliability of {group.short}{below.replace(chr(10), '; ')}", figure)


def heat_table(group: Group) -> tuple[list[str], np.ndarray]:
    """The measured corruptions of a group and their accuracy in percent, `[corruptions, 5]`.

    Means over seeds; NaN where no seed has the condition.
    """
    table = {n: [group.stat("accuracy", f"{n} {s}") for s in SEVERITIES] for n in CORRUPTIONS}
    table = {name: stats for name, stats in table.items() if any(stats)}
    values = [[100 * stat.mean if stat else np.nan for stat in line] for line in table.values()]
    return list(table), np.array(values).reshape(len(table), len(SEVERITIES))


def heat_maps(board: Board) -> list[Chart]:
    """Corruption × severity, accuracy in percent, a map per group on one scale of colours."""
    tables = {group.label: heat_table(group) for group in board.groups}
    every = np.concatenate([values.ravel() for _, values in tables.values()] or [np.empty(0)])
    every = every[np.isfinite(every)]
    if not every.size:
        return []
    low, high = float(every.min()), float(every.max())
    scale = colors.Normalize(low, max(high, low + 1e-9))
    return [_heat_map(g, *tables[g.label], scale) for g in board.groups if tables[g.label][0]]


def _heat_map(
    group: Group, names: Sequence[str], values: np.ndarray, scale: colors.Normalize
) -> Chart:
    colours = colormaps[COLOURMAP]
    height = 1.5 + 0.235 * len(names)
    with panel(wrapped(group.short, 40), height=height) as (figure, axes):
        axes.pcolormesh(
            np.ma.masked_invalid(values), cmap=colours, norm=scale, edgecolors="none",
            antialiased=False,
        )  # fmt: skip
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = np.dot(colours(scale(value))[:3], (0.299, 0.587, 0.114)) < 0.5
                axes.text(
                    column + 0.5, row + 0.5, f"{value:.1f}", ha="center", va="center",
                    fontsize=8.5, color="#ffffff" if dark else "#111111", in_layout=False,
                )  # fmt: skip
        axes.set_xticks(np.arange(5) + 0.5, [str(s) for s in SEVERITIES])
        axes.set_yticks(np.arange(len(names)) + 0.5, [name.replace("_", " ") for name in names])
        axes.set(xlabel="severity", xlim=(0, 5), ylim=(len(names), 0))
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        position = 0
        for family in CORRUPTION_FAMILIES.values():  # a line between the families
            position += sum(name in names for name in family)
            if 0 < position < len(names):
                axes.axhline(position, color=INK, linewidth=1.2)
        bar = figure.colorbar(
            cm.ScalarMappable(scale, colours.resampled(STEPS_OF_SCALE)), ax=axes, aspect=40,
            pad=0.02, location="bottom", label="accuracy (%)",
        )  # fmt: skip
        bar.outline.set_visible(False)
    worst, best = int(np.nanargmin(values)), int(np.nanargmax(values))
    ends = [f"{values.flat[i]:.1f} ({names[i // 5]} {i % 5 + 1})" for i in (worst, best)]
    alt = f"Accuracy (%) of {group.short} by corruption and severity, from {' to '.join(ends)}"
    return Chart(alt, figure)


def bar_charts(board: Board, look: Mapping[str, Style]) -> list[Chart]:
    """Per family of corruptions a bar chart: accuracy of every group, mean over severities."""
    stats = {(g.label, n): g.stat("accuracy", n) for g in board.groups for n in CORRUPTIONS}
    charts = []
    for family, members in CORRUPTION_FAMILIES.items():
        names = [n for n in members if any(stats[g.label, n] for g in board.groups)]
        if not names:
            continue
        title = "Extra (in no mean)" if family == "extra" else family.capitalize()
        width, told = BAR_GROUP / len(board.groups), []
        with panel(title) as (figure, axes):
            for place, group in enumerate(board.groups):
                found = [stats[group.label, name] or Stat(math.nan, None, 0) for name in names]
                means = [100 * stat.mean for stat in found]
                axes.bar(
                    np.arange(len(names)) - BAR_GROUP / 2 + (place + 0.5) * width, means,
                    width=0.92 * width, color=look[group.label].light,
                    yerr=[100 * (stat.std or math.nan) for stat in found],
                    error_kw={"ecolor": INK, "elinewidth": 0.8},
                )  # fmt: skip
                told.append(f"{group.short} {', '.join(f'{mean:.1f}' for mean in means)}")
            axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
            axes.set(ylabel="accuracy (%)", ylim=(0, 100), xlim=(-0.5, len(names) - 0.5))
            axes.grid(visible=False, axis="x")
        alt = f"Accuracy (%) under {', '.join(names)}: {'; '.join(told)}".replace("_", " ")
        charts.append(Chart(alt, figure))
    return charts


def wrapped(name: str, most: int = 24) -> str:
    """A name on as many lines as it needs, broken between its settings where that is possible.

    >>> print(wrapped("varmixup · clean 0.5 · VAE 8×8×4"))
    varmixup · clean 0.5 ·
    VAE 8×8×4
    """
    kept = SEPARATOR.join(word.replace(" ", "\u00a0") for word in name.split(SEPARATOR))
    return textwrap.fill(kept, most, break_on_hyphens=False).replace("\u00a0", " ")


def _weights(count: np.ndarray) -> np.ndarray:
    """How strongly each bin is drawn, 0.12 to 1: by the root of its share of the fullest."""
    return np.clip(np.sqrt(count / count.max()), 0.12, 1.0)


def _span(rows: Sequence[Dot]) -> tuple[float, float]:
    values = [v for row in rows for v in (*row.seeds, row.stat.mean)]
    for row in rows:
        ends = [(row.stat.mean, row.stat.std or 0.0), *([row.paper] if row.paper else [])]
        values += [mean + sign * spread for mean, spread in ends for sign in (-1, 1)]
    margin = 0.06 * (max(values) - min(values)) or 0.05 * abs(max(values)) or 1.0
    return min(values) - margin, max(values) + margin
