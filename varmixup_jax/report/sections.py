"""The charts and images of one data set: the sections of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from varmixup_jax.report import series
from varmixup_jax.report.charts import (
    Chart,
    bar_charts,
    dot_chart,
    dots,
    heat_maps,
    line_chart,
    reliability_chart,
)
from varmixup_jax.report.findings import table
from varmixup_jax.report.gallery import corruption_strips, vae_pictures
from varmixup_jax.report.measures import Board, Group
from varmixup_jax.report.series import Curve
from varmixup_jax.report.significance import Pair
from varmixup_jax.report.style import INK, Style
from varmixup_jax.report.tables import columns, results

CURVES = (  # key of metrics.jsonl, title, axis label, in percent
    ("loss", "Training loss", "loss (nats)", False),
    ("accuracy", "Accuracy on what is trained on", "soft-label accuracy (%)", True),
    ("clean_accuracy", "Accuracy on clean training images", "accuracy (%)", True),
    ("val_accuracy", "Validation accuracy", "accuracy (%)", True),
    ("val_nll", "Validation NLL", "NLL (nats)", False),
)
VAE_CURVES = (
    ("loss", "VAE loss", "MSE + γ MMD²"),
    ("mmd", "MMD² to the prior", "MMD²"),
    ("psnr", "Fidelity on training batches", "PSNR (dB)"),
)
RELIABILITY = (
    "Reliability: bars are the accuracy of the clean images in each confidence bin, a dark stroke the "
    "gap to their mean confidence, hollow dots the corrupted images; the fewer images, the fainter. "
    "Below: share of the images per bin. Below the dashed line a model is overconfident."
)
Block = tuple[str, Any]  # the kind of a block of `page.html`, and what it shows


class Scene(NamedTuple):
    """What is drawn: finished runs, grouped; each label's style; the arrays of each run's path."""

    board: Board
    look: Mapping[str, Style]
    artifacts: Mapping[str, Mapping[str, np.ndarray]]
    pairs: Sequence[Pair] = ()

    def arrays(self, group: Group) -> list[Mapping[str, np.ndarray]]:
        """The arrays of every run of a group, empty of one that has none."""
        return [self.artifacts.get(str(run.path), {}) for run in group.runs]


def sections(scene: Scene) -> list[tuple[str, list[Block]]]:
    """Title and blocks of every section that the runs have something for."""
    board = scene.board
    legend: Block = ("legend", [(group.short, scene.look[group.label]) for group in board.groups])
    compared = table(board, scene.pairs)
    tests: list[Block] = []
    if compared:
        tests = [("heading", ("The same images, pair by pair", "")), ("results", compared)]
    found: list[tuple[str, list[Block]]] = [
        ("Results", [("results", results(board)), *tests]),
        ("Measures side by side", _measures(scene)),
        ("Under corruption", _corruptions(scene, legend)),
        ("Calibration and linearity", _calibration(scene, legend)),
        ("What the VAE does", _autoencoders(scene)),
        ("Training", _charts(_training(scene), legend, _band(board))),
        ("One image under every corruption", _strips(scene)),
    ]
    return [(title, blocks) for title, blocks in found if blocks and board.groups]


def _measures(scene: Scene) -> list[Block]:
    """A dot chart of every measure of the table; none where there is nothing to compare."""
    board = scene.board
    if len(board.groups) < 2:
        return []
    found = [(column, dots(column, board, scene.look)) for column in columns(board)]
    found = [(column, rows) for column, rows in found if rows]
    note = (
        "Large mark: mean, bar: ± std over seeds; small dots: each seed. " if _band(board) else ""
    )
    if any(row.paper for _, rows in found for row in rows):
        note += "Hollow grey diamond: the paper's number, printed for comparison."
    return _charts([dot_chart(column, rows) for column, rows in found], note=note)


def _corruptions(scene: Scene, legend: Block) -> list[Block]:
    """Bars that put the groups side by side, then a heat map for each."""
    note = "Mean over the five severities" + (
        ", strokes: ± std over seeds." if _band(scene.board) else "."
    )
    bars, maps = bar_charts(scene.board, scene.look), heat_maps(scene.board)
    if len(scene.board.groups) == 1:
        return _charts([*maps, *bars], note=f"Bars: {note[0].lower()}{note[1:]}")
    heading: Block = ("heading", ("Corruption × severity", ""))
    blocks = _charts(maps, note="The same scale of colours in every map.")
    return [*_charts(bars, legend, note), heading, *blocks] if maps else []


def _calibration(scene: Scene, legend: Block) -> list[Block]:
    """The calibration gap by severity, linearity by radius, and a reliability diagram per group."""
    drawn = [
        *_lines(
            scene, series.gap_curve, "Signed calibration gap by severity",
            "severity (0: clean)", "confidence − accuracy (%)", markers=True, percent=True, zero=True,
        ),
        *_lines(
            scene, series.linearity_curve, "Local linearity error by radius",
            "ε (1/255)", "error (nats)", markers=True, logarithmic=True,
        ),
    ]  # fmt: skip
    note: list[Block] = []
    for group in scene.board.groups:
        kinds = ("reliability", "reliability_corrupted")
        bins = [series.reliability(scene.arrays(group), kind) for kind in kinds]
        if any(part is not None for part in bins):
            drawn.append(reliability_chart(group, scene.look[group.label], *bins))
            note = [("note", RELIABILITY)]
    return [*_charts(drawn, legend, _band(scene.board)), *note]


def _training(scene: Scene) -> list[Chart]:
    """Loss and accuracies over the steps."""
    return [
        chart
        for name, title, ylabel, percent in CURVES
        for chart in _lines(
            scene, partial(series.training_curve, name), title, "step", ylabel, percent=percent,
            logarithmic=name == "loss",
        )
    ]  # fmt: skip


def _vae_training(arrays: Mapping[str, np.ndarray]) -> list[Chart]:
    """Loss, MMD and PSNR of a VAE over its training steps."""
    style, x = Style(INK, INK, "o", "-"), arrays.get("vae_step", np.empty(0))
    drawn = []
    for name, title, ylabel in VAE_CURVES:
        y = arrays.get(f"vae_{name}", np.empty(0))
        if len(x) and len(x) == len(y):
            line = [("VAE", style, Curve(*map(tuple, (x, y, y, y))))]
            drawn.append(line_chart(title, line, "step", ylabel, logarithmic=name != "psnr"))
    return drawn


def _autoencoders(scene: Scene) -> list[Block]:
    """For each VAE of the data set curves and pictures of the first run that used it."""
    users: dict[str, list[str]] = {}
    shown: dict[str, list[Block]] = {}
    for group in scene.board.groups:
        for run, arrays in zip(group.runs, scene.arrays(group), strict=True):
            vae = run.summary.get("vae") or {}
            pictures = vae_pictures(arrays, vae.get("psnr"))
            key = str(vae.get("key") or run.name)
            if pictures:
                shown.setdefault(key, [("pictures", pictures), *_charts(_vae_training(arrays))])
                users.setdefault(key, []).append(group.short)
    return [
        block
        for key, blocks in shown.items()
        for block in [("heading", (f"VAE of {', '.join(dict.fromkeys(users[key]))}", key)), *blocks]
    ]


def _strips(scene: Scene) -> list[Block]:
    """One image under every corruption, a strip of severities for each."""
    for group in scene.board.groups:
        for strips in map(corruption_strips, scene.arrays(group)):
            if strips:
                note = "The severity is below each image" + (
                    "; 0 is the uncorrupted image." if strips[0].ticks[0] == "0" else "."
                )
                return [("note", note), ("strips", strips)]
    return []


def _charts(charts: Sequence[Chart], legend: Block | None = None, note: str = "") -> list[Block]:
    """Charts below their legend (where it names more than one) and note; none of none."""
    if not charts:
        return []
    blocks: list[Block] = [legend] if legend is not None and len(legend[1]) > 1 else []
    return [*blocks, *([("note", note)] if note else []), ("charts", charts)]


def _band(board: Board) -> str:
    return "Bands and bars: ± std over seeds." if board.seeds > 1 else ""


def _lines(
    scene: Scene, curve: Callable[[Group], Curve | None], title: str, xlabel: str,
    ylabel: str, **settings: bool,
) -> list[Chart]:  # fmt: skip
    """A chart of the curves that exist, one per group; none where none does."""
    found = [(group, curve(group)) for group in scene.board.groups]
    lines = [(g.short, scene.look[g.label], points) for g, points in found if points is not None]
    return [line_chart(title, lines, xlabel, ylabel, **settings)] if lines else []
