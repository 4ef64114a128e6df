"""Every chart: measures with their spread, curves, calibration, accuracy under corruption."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import cm, colormaps, colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter

from varmixup_jax.report.labels import SEPARATOR
from varmixup_jax.report.measures import Board, Group, Stat
from varmixup_jax.report.names import CORRUPTION_FAMILIES, CORRUPTIONS, SEVERITIES
from varmixup_jax.report.series import Reliability
from varmixup_jax.report.style import GRID, INK, MUTED, PAPER, Style, panel
from varmixup_jax.report.tables import Column, paper_row

COLOURMAP = "cividis"  # perceptually uniform, and the same for colour-blind readers
STEPS_OF_SCALE = 24  # patches of a colour bar
BAR_GROUP = 0.86  # fraction of a corruption's width that its bars fill
LOGARITHMIC_FROM = 20.0  # ratio of largest to smallest value above which an axis may be logarithmic


class Chart(NamedTuple):
    """A figure and its alt text."""

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
    """The rows of a dot chart of one measure, with the paper's accuracies if it has any."""
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
    with panel(column.heading, height=0.75 + tall * max(len(rows), 3)) as (figure, axes):
        for y, row in enumerate(rows):
            axes.axhline(y, color=GRID, linewidth=0.8, zorder=1)
            if len(row.seeds) > 1:
                axes.plot(
                    row.seeds, [y] * len(row.seeds), "o", color=row.style.light, markersize=2.6,
                    alpha=0.55, zorder=2,
                )  # fmt: skip
        draw_means(axes, rows, names, size=7)
        axes.margins(x=0.06)
        axes.xaxis.set_major_locator(MaxNLocator(6))
    told = ", ".join(f"{row.name} {row.stat.mean:.{column.digits}f}" for row in rows)
    return Chart(f"{column.heading}: {told}", figure)


def draw_means(axes: Axes, rows: Sequence[Dot], names: Sequence[str], size: float) -> None:
    """The mean ± std of each row next to its name, and the paper's as a hollow diamond."""
    for y, row in enumerate(rows):
        axes.errorbar(
            row.stat.mean, y, xerr=row.stat.std, color=row.style.light, marker=row.style.marker,
            markersize=size, elinewidth=1.8, zorder=3,
        )  # fmt: skip
        if row.paper is not None:
            axes.errorbar(
                row.paper[0], y, xerr=row.paper[1], color=MUTED, marker="D", markersize=0.8 * size,
                markerfacecolor=PAPER, elinewidth=1.0, zorder=2,
            )  # fmt: skip
    axes.set_yticks(range(len(rows)), names, linespacing=0.95)
    axes.set_ylim(len(rows) - 0.5, -0.65)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def line_chart(
    title: str, lines: Sequence[tuple[str, Style, pd.DataFrame]], xlabel: str, ylabel: str, *,
    markers: bool = False, percent: bool = False, zero: bool = False, logarithmic: bool = False,
) -> Chart:  # fmt: skip
    """Curves with a band of ± std over seeds.

    Args:
      title: above the axes.
      lines: what to draw: name, style and points, as returned by `series`.
      xlabel: with its unit.
      ylabel: with its unit.
      markers: mark the points (for few points).
      percent: multiply values by 100.
      zero: draw the line y = 0.
      logarithmic: a logarithmic y axis if the values are all positive and span a wide range.
    """
    scale = 100.0 if percent else 1.0
    every = pd.concat([points for *_, points in lines])
    least, most = every["mean"].min(), every["mean"].max()
    logarithmic = logarithmic and least > 0 and most / least > LOGARITHMIC_FROM
    with panel(title) as (figure, axes):
        if zero:
            axes.axhline(0.0, color=MUTED, linewidth=1.1)
        for _, style, points in lines:
            mean, std = scale * points["mean"], scale * points["std"]
            axes.plot(
                mean, color=style.light, linestyle=style.dash,
                marker=style.marker if markers or len(mean) == 1 else None,
            )  # fmt: skip
            if std.any():
                # A band that reaches 0 has no lower edge on a logarithmic axis.
                low = np.maximum(mean - std, 0.1 * mean) if logarithmic else mean - std
                axes.fill_between(
                    mean.index, low, mean + std, color=style.light, alpha=0.14, linewidth=0
                )
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.margins(x=0.02)
        whole = all(float(x).is_integer() for x in every.index)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole))
    ends = ", ".join(f"{label} {scale * p['mean'].iloc[-1]:.3g}" for label, _, p in lines)
    return Chart(f"{title}, {ylabel} by {xlabel}; last: {ends}", figure)


def reliability_chart(
    group: Group, style: Style, clean: Reliability | None, corrupted: Reliability | None
) -> Chart:
    """Accuracy against confidence per bin: bars for clean images, dots for corrupted ones.

    The fewer images bars and dots stand for, the fainter they are. The thin bars along the bottom are
    the fraction of examples in each bin (of the clean images, if any). The calibration errors are
    those of the table: means over seeds, and over the 75 conditions.
    """
    errors = {k: group.stat("ece", k) for k in ("clean", "corrupted")}
    texts = [f"{k} {100 * stat.mean:.1f} %" for k, stat in errors.items() if stat]
    below = f"\nECE: {', '.join(texts)}" if texts else ""
    with panel(wrapped(group.short, 40), height=3.6) as (figure, axes):
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1.1, linestyle=(0, (3, 2)))
        for bins in [each for each in (corrupted, clean) if each is not None]:
            width, full = 100 / len(bins.count), bins.count > 0
            centres = width * (np.arange(len(bins.count)) + 0.5)
            confidence, accuracy = 100 * bins.confidence[full], 100 * bins.accuracy[full]
            # A bin's opacity: the square root of its count relative to the fullest bin.
            strength = np.clip(np.sqrt(bins.count / bins.count.max()), 0.12, 1.0)[full]
            if bins is clean:
                tints = [colors.to_rgba(style.light, 0.65 * each) for each in strength]
                axes.bar(centres[full], accuracy, 0.9 * width, color=tints)
                axes.vlines(  # the gap between what it claims and reaches
                    centres[full], confidence, accuracy, color=INK, alpha=strength, linewidth=1.2
                )
            else:
                axes.plot(confidence, accuracy, color=INK, linewidth=0.7, alpha=0.4, zorder=2.5)
                axes.scatter(
                    confidence, accuracy, 16, PAPER, edgecolors=INK, alpha=strength, zorder=3
                )
        heights = 12 * bins.count / bins.count.max()
        axes.bar(centres, heights, bottom=-14, width=0.9 * width, color=MUTED, alpha=0.7)
        axes.axhline(0, color=MUTED, linewidth=0.6)
        axes.set(xlim=(0, 100), ylim=(-14, 100), ylabel="accuracy (%)")
        axes.set_xlabel(f"confidence (%){below}")
        axes.set_yticks(range(0, 101, 20))
    return Chart(f"Reliability of {group.short}{below.replace(chr(10), '; ')}", figure)


def heat_maps(board: Board) -> list[Chart]:
    """Corruption × severity, accuracy in percent, one map per group on a common colour scale."""
    tables = [(group, _by_severity(group)) for group in board.groups]
    every = pd.concat([table.unstack() for _, table in tables])
    scale = colors.Normalize(every.min(), max(every.max(), every.min() + 1e-9))
    return [_heat_map(group, table, scale) for group, table in tables if not table.empty]


def _by_severity(group: Group) -> pd.DataFrame:
    """Accuracy in percent of each corruption that was measured: mean over seeds, NaN if missing."""
    stats = [[group.stat("accuracy", f"{c} {s}") for s in SEVERITIES] for c in CORRUPTIONS]
    means = [[stat.mean if stat else math.nan for stat in line] for line in stats]
    return 100 * pd.DataFrame(means, CORRUPTIONS, SEVERITIES).dropna(how="all")


def _heat_map(group: Group, table: pd.DataFrame, scale: colors.Normalize) -> Chart:
    colours, names = colormaps[COLOURMAP], list(table.index)
    with panel(wrapped(group.short, 40), height=1.5 + 0.235 * len(names)) as (figure, axes):
        axes.pcolormesh(
            np.ma.masked_invalid(table), cmap=colours, norm=scale, edgecolors="none",
            antialiased=False,
        )  # fmt: skip
        for (row, column), value in np.ndenumerate(table):
            if np.isfinite(value):
                dark = np.dot(colours(scale(value))[:3], (0.299, 0.587, 0.114)) < 0.5
                axes.text(
                    column + 0.5, row + 0.5, f"{value:.1f}", ha="center", va="center",
                    fontsize=8.5, color="#ffffff" if dark else "#111111", in_layout=False,
                )  # fmt: skip
        axes.set_xticks(np.arange(5) + 0.5, map(str, SEVERITIES))
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
    values = table.unstack().dropna()
    ends = [f"{values[at]:.1f} ({at[1]} {at[0]})" for at in (values.idxmin(), values.idxmax())]
    alt = f"Accuracy (%) of {group.short} by corruption and severity, from {' to '.join(ends)}"
    return Chart(alt, figure)


def bar_charts(board: Board, look: Mapping[str, Style]) -> list[Chart]:
    """A bar chart per family of corruptions: accuracy of every group, mean over severities."""
    width, charts = BAR_GROUP / len(board.groups), []
    for family, members in CORRUPTION_FAMILIES.items():
        found = [[group.stat("accuracy", name) for name in members] for group in board.groups]
        names = [
            n for n, stats in zip(members, zip(*found, strict=True), strict=True) if any(stats)
        ]
        if not names:
            continue
        told = []
        with panel("Extra (in no mean)" if family == "extra" else family.capitalize()) as (
            figure,
            axes,
        ):
            for place, group in enumerate(board.groups):
                stats = [group.stat("accuracy", n) or Stat(math.nan, None, 0) for n in names]
                means = [100 * stat.mean for stat in stats]
                axes.bar(
                    np.arange(len(names)) - BAR_GROUP / 2 + (place + 0.5) * width, means,
                    width=0.92 * width, color=look[group.label].light,
                    yerr=[100 * (stat.std or math.nan) for stat in stats],
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
    """A name on as many lines as it needs, broken between its settings if possible.

    >>> print(wrapped("varmixup · clean 0.5 · VAE 8×8×4"))
    varmixup · clean 0.5 ·
    VAE 8×8×4
    """
    kept = SEPARATOR.join(word.replace(" ", "\u00a0") for word in name.split(SEPARATOR))
    return textwrap.fill(kept, most, break_on_hyphens=False).replace("\u00a0", " ")
