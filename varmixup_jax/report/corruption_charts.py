"""Accuracy under corruption: a heat map per method, bars that put methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from varmixup_jax.report.figures import short
from varmixup_jax.report.measures import Board, Group
from varmixup_jax.report.names import CORRUPTION_FAMILIES, CORRUPTIONS, SEVERITIES
from varmixup_jax.report.style import INK, Style, panel

COLOURMAP = "cividis"  # even in lightness, the same to colour-blind readers
BAR_GROUP = 0.86  # share of a corruption's place that its bars fill


def heat_table(group: Group) -> tuple[list[str], np.ndarray]:
    """The measured corruptions of a group and their accuracy in percent, `[corruptions, 5]`.

    Means over seeds; NaN where no seed has the condition.
    """
    names, lines = [], []
    for name in CORRUPTIONS:
        stats = [group.stat("accuracy", f"{name} {severity}") for severity in SEVERITIES]
        if any(stats):
            names.append(name)
            lines.append([100 * stat.mean if stat else np.nan for stat in stats])
    return names, np.array(lines).reshape(len(names), len(SEVERITIES))


def heat_limits(board: Board) -> tuple[float, float] | None:
    """Least and greatest accuracy over all groups, the common scale of their heat maps."""
    tables = [heat_table(group)[1].ravel() for group in board.groups]
    values = np.concatenate([*tables, [np.nan]])
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def heat_map(group: Group, limits: tuple[float, float]) -> Figure:
    """Corruption × severity, accuracy in percent in each cell; colours run over `limits`."""
    names, values = heat_table(group)
    low, high = limits
    span = max(high - low, 1e-9)
    with panel(short(group.label, 44), height=0.85 + 0.235 * len(names)) as (figure, axes):
        axes.pcolormesh(
            np.ma.masked_invalid(values), cmap=COLOURMAP, vmin=low, vmax=high,
            edgecolors="none", antialiased=False,
        )  # fmt: skip
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                red, green, blue, _ = colormaps[COLOURMAP]((value - low) / span)
                dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
                axes.text(
                    column + 0.5, row + 0.5, f"{value:.1f}", ha="center", va="center",
                    fontsize=8.5, color="#ffffff" if dark else "#111111", in_layout=False,
                )  # fmt: skip
        axes.set_xticks(np.arange(5) + 0.5, [str(s) for s in SEVERITIES])
        axes.set_yticks(np.arange(len(names)) + 0.5, [name.replace("_", " ") for name in names])
        axes.set(xlabel="severity", xlim=(0, 5), ylim=(len(names), 0))
        axes.grid(visible=False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        position = 0
        for family in CORRUPTION_FAMILIES.values():  # a line between the families
            position += sum(name in names for name in family)
            if 0 < position < len(names):
                axes.axhline(position, color=INK, linewidth=1.2)
    return figure


def bar_charts(board: Board, look: Mapping[str, Style]) -> list[Figure]:
    """Per family of corruptions a bar chart: accuracy of every group, mean over severities."""
    stats = {(g.label, n): g.stat("accuracy", n) for g in board.groups for n in CORRUPTIONS}
    charts = []
    for family, members in CORRUPTION_FAMILIES.items():
        names = [n for n in members if any(stats[g.label, n] for g in board.groups)]
        if names:
            charts.append(_bars(family, names, board.groups, stats, look))
    return charts


def _bars(
    family: str,
    names: Sequence[str],
    groups: Sequence[Group],
    stats: Mapping,
    look: Mapping[str, Style],
) -> Figure:
    title = "Extra (in no mean)" if family == "extra" else family.capitalize()
    width = BAR_GROUP / len(groups)
    with panel(title) as (figure, axes):
        for number, group in enumerate(groups):
            for place, name in enumerate(names):
                stat = stats[group.label, name]
                if stat is None or not np.isfinite(stat.mean):
                    continue
                spread = None if stat.std is None else 100 * stat.std
                axes.bar(
                    place - BAR_GROUP / 2 + (number + 0.5) * width, 100 * stat.mean,
                    width=0.92 * width, color=look[group.label].light, yerr=spread,
                    error_kw={"ecolor": INK, "elinewidth": 0.8},
                )  # fmt: skip
        axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
        axes.set(ylabel="accuracy (%)", ylim=(0, 100), xlim=(-0.5, len(names) - 0.5))
        axes.grid(visible=False, axis="x")
    return figure
