"""The sections of one data set, each "" where the runs have nothing for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from varmixup_jax.report import markup, series
from varmixup_jax.report.columns import columns
from varmixup_jax.report.corruption_charts import bar_charts, heat_limits, heat_map, heat_table
from varmixup_jax.report.figures import dot_chart, dots, line_chart, reliability_chart, short
from varmixup_jax.report.measures import Board, Group
from varmixup_jax.report.paper_numbers import PAPER
from varmixup_jax.report.series import Curve
from varmixup_jax.report.style import Style

CURVES = (  # key of metrics.jsonl, title, axis label, in percent, logarithmic
    ("loss", "Training loss", "loss (nats)", False, True),
    ("accuracy", "Accuracy on what is trained on", "soft-label accuracy (%)", True, False),
    ("clean_accuracy", "Accuracy on clean training images", "accuracy (%)", True, False),
    ("val_accuracy", "Validation accuracy", "accuracy (%)", True, False),
    ("val_nll", "Validation NLL", "NLL (nats)", False, False),
)
LOGARITHMIC_FROM = 20.0  # ratio of the greatest to the least value above which an axis is


class Scene(NamedTuple):
    """What the sections of a data set draw from.

    Attributes:
      board: its finished runs, grouped.
      look: the style of each group's label.
      artifacts: the arrays of each run, by the run's path.
    """

    board: Board
    look: Mapping[str, Style]
    artifacts: Mapping[str, Mapping[str, np.ndarray]]

    def lines(self, curves: Iterable[tuple[Group, Curve | None]]) -> list[tuple[Style, Curve]]:
        """The curves that exist, each with its group's style."""
        return [(self.look[group.label], curve) for group, curve in curves if curve is not None]

    def legend(self, *notes: str) -> str:
        """The legend of all groups."""
        return markup.legend([(g.label, self.look[g.label]) for g in self.board.groups], notes)

    def arrays(self, group: Group) -> list[Mapping[str, np.ndarray]]:
        """The artifacts of the runs of a group."""
        return [self.artifacts.get(str(member.run.path), {}) for member in group.members]


def measures(scene: Scene) -> list[str]:
    """A dot chart of every measure of the table; none where there is nothing to compare."""
    if len(scene.board.groups) < 2 and scene.board.dataset not in PAPER:
        return []
    found = [(column, dots(column, scene.board, scene.look)) for column in columns(scene.board)]
    found = [(column, rows) for column, rows in found if rows]
    note = "Large mark: mean, bar: ± std over seeds. Small dots: each seed."
    if any(row.paper for _, rows in found for row in rows):
        note += " Hollow grey diamond: the paper's number, printed for comparison."
    drawn = [markup.chart(dot_chart(column, rows), column.heading) for column, rows in found]
    return [markup.paragraph(note, "note"), markup.charts(drawn)] if drawn else []


def training_curves(scene: Scene) -> list[str]:
    """Loss and accuracies over the steps."""
    drawn = []
    for name, title, label, percent, may_be_logarithmic in CURVES:
        lines = scene.lines(
            (group, series.training_curve([m.run for m in group.members], name))
            for group in scene.board.groups
        )
        if not lines:
            continue
        logarithmic = may_be_logarithmic and _wide(lines)
        figure = line_chart(
            title, lines, "step", label, percent=percent, logarithmic=logarithmic
        )  # fmt: skip
        drawn.append(markup.chart(figure, title))
    return [scene.legend("band: ± std over seeds"), markup.charts(drawn)] if drawn else []


def reliability(scene: Scene) -> list[str]:
    """A reliability diagram per group, bins pooled over its seeds."""
    drawn = []
    for group in scene.board.groups:
        arrays = scene.arrays(group)
        clean = series.reliability(arrays, "reliability")
        corrupted = series.reliability(arrays, "reliability_corrupted")
        if clean is not None or corrupted is not None:
            label = short(group.label, 44)
            figure = reliability_chart(label, scene.look[group.label], clean, corrupted)
            drawn.append(markup.chart(figure, f"Reliability of {group.label}"))
    note = (
        "Bars: accuracy of the clean images in each confidence bin; a dark stroke is the gap to "
        "their mean confidence. Hollow dots: corrupted images. Below: share of the images per bin. "
        "On the dashed line confidence equals accuracy; below it the model is overconfident."
    )
    return [markup.paragraph(note, "note"), markup.charts(drawn)] if drawn else []


def calibration_and_linearity(scene: Scene) -> list[str]:
    """The signed calibration gap by severity and the local linearity error by radius."""
    drawn = []
    gaps = scene.lines((group, series.gap_curve(group)) for group in scene.board.groups)
    if gaps:
        title = "Signed calibration gap by severity"
        figure = line_chart(
            title, gaps, "severity (0: clean)", "confidence − accuracy (%)",
            markers=True, percent=True, zero=True,
        )  # fmt: skip
        drawn.append(markup.chart(figure, title))
    errors = scene.lines((group, series.linearity_curve(group)) for group in scene.board.groups)
    if errors:
        title = "Local linearity error by radius"
        figure = line_chart(
            title, errors, "ε (1/255)", "error (nats)", markers=True, logarithmic=_wide(errors)
        )
        drawn.append(markup.chart(figure, title))
    return [scene.legend("band: ± std over seeds"), markup.charts(drawn)] if drawn else []


def corruption_accuracy(scene: Scene) -> list[str]:
    """Bars that put the groups side by side, then a heat map for each."""
    limits = heat_limits(scene.board)
    if limits is None:
        return []
    blocks = []
    bars = bar_charts(scene.board, scene.look)
    if bars:
        note = "Mean over the five severities, strokes: ± std over seeds."
        blocks += [markup.paragraph(note, "note"), scene.legend()]
        blocks.append(markup.charts(markup.chart(bar, "Accuracy by corruption") for bar in bars))
    maps = [
        markup.chart(heat_map(group, limits), f"Accuracy of {group.label} by corruption, severity")
        for group in scene.board.groups
        if heat_table(group)[0]
    ]
    note = "Accuracy in percent, mean over seeds; all maps share one colour scale."
    return [*blocks, "<h3>Corruption × severity</h3>", markup.paragraph(note, "note"),
            markup.charts(maps)]  # fmt: skip


def _wide(lines: Sequence[tuple[Style, Curve]]) -> bool:
    """Whether the values are positive and range so far that an axis should be logarithmic."""
    values = [value for _, curve in lines for value in curve.mean]
    return min(values) > 0 and max(values) / min(values) > LOGARITHMIC_FROM
