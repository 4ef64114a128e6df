"""The charts and images of one data set: the sections of the page, and the pictures of one run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from varmixup_jax.report import gallery, series
from varmixup_jax.report.columns import columns
from varmixup_jax.report.corruption_charts import bar_charts, heat_limits, heat_map, heat_table
from varmixup_jax.report.figures import dot_chart, dots, line_chart, reliability_chart, short
from varmixup_jax.report.measures import Board
from varmixup_jax.report.paper_numbers import PAPER
from varmixup_jax.report.results_table import results
from varmixup_jax.report.series import Curve
from varmixup_jax.report.style import Style

CURVES = (  # key of metrics.jsonl, title, axis label, in percent
    ("loss", "Training loss", "loss (nats)", False),
    ("accuracy", "Accuracy on what is trained on", "soft-label accuracy (%)", True),
    ("clean_accuracy", "Accuracy on clean training images", "accuracy (%)", True),
    ("val_accuracy", "Validation accuracy", "accuracy (%)", True),
    ("val_nll", "Validation NLL", "NLL (nats)", False),
)
LOGARITHMIC = ("loss", "linearity")  # charts whose axis is, where the values range far
LOGARITHMIC_FROM = 20.0  # ratio of the greatest to the least value above which they do
Block = tuple[str, Any]  # the kind of a block of `page.html`, and what it shows


class Chart(NamedTuple):
    """A figure, the name of its file and what a screen reader calls it."""

    name: str
    title: str
    figure: Figure


class Picture(NamedTuple):
    """An RGBA image, the name of its file and the caption below it."""

    name: str
    caption: str
    canvas: np.ndarray


class Scene(NamedTuple):
    """What is drawn: finished runs, grouped; each label's style; the arrays of each run's path."""

    board: Board
    look: Mapping[str, Style]
    artifacts: Mapping[str, Mapping[str, np.ndarray]]

    def arrays(self) -> list[Mapping[str, np.ndarray]]:
        """The arrays of every run that has some."""
        runs = [run for group in self.board.groups for run in group.runs]
        found = [self.artifacts.get(str(run.path), {}) for run in runs]
        return [arrays for arrays in found if arrays]


def sections(scene: Scene) -> list[tuple[str, list[Block]]]:
    """Title and blocks of every section that the runs have something for."""
    board = scene.board
    key = [(group.label, scene.look[group.label]) for group in board.groups]
    legend = ("legend", (key, "band: ± std over seeds"))
    training, lines = training_charts(scene), curve_charts(scene)
    found: list[tuple[str, list[Block]]] = [
        ("Results", [("results", results(board))]),
        ("Measures side by side", _measures(scene)),
        ("What the VAE does", _autoencoders(scene)),
        ("Training", [legend, ("charts", training)] if training else []),
        ("Reliability", _reliability(scene)),
        ("Calibration and linearity", [legend, ("charts", lines)] if lines else []),
        ("Under corruption", _corruptions(scene, key)),
        ("One image under every corruption", _corruption_strips(scene)),
    ]
    return [(title, blocks) for title, blocks in found if blocks and board.groups]


def training_charts(scene: Scene) -> list[Chart]:
    """Loss and accuracies over the steps."""
    return [
        chart
        for name, title, ylabel, percent in CURVES
        for chart in _lines(
            scene, f"training_{name}", title, "step", ylabel, percent=percent,
            curves=[
                series.training_curve(group.runs, name)
                for group in scene.board.groups
            ],
        )
    ]  # fmt: skip


def curve_charts(scene: Scene) -> list[Chart]:
    """The signed calibration gap by severity and the local linearity error by radius."""
    groups = scene.board.groups
    return [
        *_lines(
            scene, "calibration_gap", "Signed calibration gap by severity", "severity (0: clean)",
            "confidence − accuracy (%)", map(series.gap_curve, groups),
            markers=True, percent=True, zero=True,
        ),
        *_lines(
            scene, "linearity", "Local linearity error by radius", "ε (1/255)", "error (nats)",
            map(series.linearity_curve, groups), markers=True,
        ),
    ]  # fmt: skip


def reliability_charts(scene: Scene) -> list[Chart]:
    """A reliability diagram per group, bins pooled over its seeds."""
    drawn = []
    for group in scene.board.groups:
        arrays = [scene.artifacts.get(str(run.path), {}) for run in group.runs]
        bins = [series.reliability(arrays, f"reliability{kind}") for kind in ("", "_corrupted")]
        if any(part is not None for part in bins):
            figure = reliability_chart(short(group.label, 44), scene.look[group.label], *bins)
            drawn.append(Chart("reliability", f"Reliability of {group.label}", figure))
    return drawn


def heat_maps(scene: Scene) -> list[Chart]:
    """Accuracy by corruption and severity, a map per group on one scale of colours."""
    limits = heat_limits(scene.board)
    return [
        Chart(
            "corruptions",
            f"Accuracy of {group.label} by corruption, severity",
            heat_map(group, limits),
        )
        for group in scene.board.groups
        if limits is not None and heat_table(group)[0]
    ]


def vae_pictures(arrays: Mapping[str, np.ndarray], psnr: object = None) -> list[Picture]:
    """What a VAE does: reconstructions, samples of the prior, mixing of latents and of pixels."""
    shown = []
    if {"originals", "reconstructions"} <= set(arrays):
        caption = "Originals (upper rows) and reconstructions (below each)."
        if isinstance(psnr, (int, float)):
            caption += f" PSNR of the VAE: {psnr:.1f} dB."
        here = gallery.psnr(arrays["originals"], arrays["reconstructions"])
        if here is not None:
            caption += f" Of the {len(arrays['originals'])} images recorded here: {here:.1f} dB."
        canvas = gallery.reconstruction_sheet(arrays["originals"], arrays["reconstructions"])
        shown.append(Picture("reconstructions", caption, canvas))
    if "prior_samples" in arrays:
        canvas = gallery.sample_sheet(arrays["prior_samples"])
        shown.append(Picture("prior_samples", "Decoded samples of the prior N(0, I).", canvas))
    for name, what in (("latent_grid", "latents, decoded"), ("pixel_grid", "pixels")):
        if name in arrays:
            caption = f"Mixing of {what}: one pair per row, λ from 0 (left) to 1 (right)."
            shown.append(Picture(name, caption, gallery.sheet(arrays[name][: gallery.MOST_PAIRS])))
    return shown


def _measures(scene: Scene) -> list[Block]:
    """A dot chart of every measure of the table; none where there is nothing to compare."""
    if len(scene.board.groups) < 2 and scene.board.dataset not in PAPER:
        return []
    found = [(column, dots(column, scene.board, scene.look)) for column in columns(scene.board)]
    found = [(column, rows) for column, rows in found if rows]
    note = "Large mark: mean, bar: ± std over seeds. Small dots: each seed."
    if any(row.paper for _, rows in found for row in rows):
        note += " Hollow grey diamond: the paper's number, printed for comparison."
    drawn = [Chart(c.key, c.heading, dot_chart(c, rows)) for c, rows in found]
    return [("note", note), ("charts", drawn)] if drawn else []


def _autoencoders(scene: Scene) -> list[Block]:
    """For each VAE of the data set the pictures of the first run that used it."""
    blocks: list[Block] = []
    runs = [run for group in scene.board.groups for run in group.runs]
    users: dict[str, list[str]] = {}
    for run in runs:
        vae = run.summary.get("vae") or {}
        shown = vae_pictures(scene.artifacts.get(str(run.path), {}), vae.get("psnr"))
        key = str(vae.get("key") or run.name)
        if shown and key not in users:
            blocks += [("heading", (f"VAE {key}", users.setdefault(key, []))), ("pictures", shown)]
        if shown and run.method not in users[key]:
            users[key].append(run.method)
    return [(k, (c[0], ", ".join(c[1])) if k == "heading" else c) for k, c in blocks]


def _reliability(scene: Scene) -> list[Block]:
    note = (
        "Bars: accuracy of the clean images in each confidence bin; a dark stroke is the gap to "
        "their mean confidence. Hollow dots: corrupted images. Below: share of the images per bin. "
        "On the dashed line confidence equals accuracy; below it the model is overconfident."
    )
    drawn = reliability_charts(scene)
    return [("note", note), ("charts", drawn)] if drawn else []


def _corruptions(scene: Scene, key: Sequence[tuple[str, Style]]) -> list[Block]:
    """Bars that put the groups side by side, then a heat map for each."""
    maps, blocks = heat_maps(scene), list[Block]()
    if not maps:
        return []
    bars = [Chart("bars", "Accuracy by corruption", f) for f in bar_charts(scene.board, scene.look)]
    if bars:
        note = "Mean over the five severities, strokes: ± std over seeds."
        blocks += [("note", note), ("legend", (key, "")), ("charts", bars)]
    note = "Accuracy in percent, mean over seeds; all maps share one colour scale."
    return [*blocks, ("heading", ("Corruption × severity", "")), ("note", note), ("charts", maps)]


def _corruption_strips(scene: Scene) -> list[Block]:
    """One image under every corruption, a strip of severities for each."""
    for arrays in scene.arrays():
        if "corruption_sheet" in arrays:
            names, images = arrays["corruption_names"], arrays["corruption_sheet"]
            strips = [
                Picture("strip", str(name).replace("_", " "), gallery.sheet(strip[None]))
                for name, strip in zip(names, images, strict=True)
            ]
            note = f"Severities 1 to {images.shape[1]} from left to right."
            return [("note", note), ("strips", strips)]
    return []


def _lines(
    scene: Scene, name: str, title: str, xlabel: str, ylabel: str,
    curves: Iterable[Curve | None], **settings: bool,
) -> list[Chart]:  # fmt: skip
    """A chart of the curves that exist, one per group; none where none does."""
    lines = [
        (scene.look[group.label], curve)
        for group, curve in zip(scene.board.groups, curves, strict=True)
        if curve is not None
    ]
    values = [value for _, curve in lines for value in curve.mean]
    wide = bool(values) and min(values) > 0 and max(values) / min(values) > LOGARITHMIC_FROM
    settings["logarithmic"] = wide and name.removeprefix("training_") in LOGARITHMIC
    figure = line_chart(title, lines, xlabel, ylabel, **settings) if lines else None
    return [Chart(name, title, figure)] if figure is not None else []
