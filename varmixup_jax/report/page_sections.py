"""What each section of the page shows for one data set: tables, charts and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

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
from varmixup_jax.report.measures import Board
from varmixup_jax.report.significance import Pair
from varmixup_jax.report.style import INK, Style
from varmixup_jax.report.tables import columns, results

# For each line chart: the points of a group, title, axis labels, and how it is drawn.
CALIBRATION = (
    (
        series.gap_curve, "Signed calibration gap by severity", "severity (0: clean)",
        "confidence − accuracy (%)", {"markers": True, "percent": True, "zero": True},
    ),
    (
        series.linearity_curve, "Local linearity error by radius", "ε (1/255)",
        "error (nats)", {"markers": True, "logarithmic": True},
    ),
)  # fmt: skip
TRAINING = tuple(
    (partial(series.training_curve, key), title, "step", ylabel, how)
    for key, title, ylabel, how in (
        ("loss", "Training loss", "loss (nats)", {"logarithmic": True}),
        (
            "accuracy",
            "Accuracy on what is trained on",
            "soft-label accuracy (%)",
            {"percent": True},
        ),
        ("clean_accuracy", "Accuracy on clean training images", "accuracy (%)", {"percent": True}),
        ("val_accuracy", "Validation accuracy", "accuracy (%)", {"percent": True}),
        ("val_nll", "Validation NLL", "NLL (nats)", {}),
    )
)
VAE_CURVES = (
    ("loss", "VAE loss", "MSE + γ MMD²"),
    ("mmd", "MMD² to the prior", "MMD²"),
    ("psnr", "Fidelity on training batches", "PSNR (dB)"),
)
Arrays = Mapping[str, np.ndarray]


def sections(
    board: Board,
    look: Mapping[str, Style],
    artifacts: Mapping[str, Arrays],
    pairs: Sequence[Pair],
) -> dict[str, Any]:
    """What `page.html` shows in each section for which the runs have data.

    Args:
      board: the finished runs of a data set.
      look: the style of each group's label.
      artifacts: the arrays of each run by its path; runs without any may be left out.
      pairs: the paired tests of the groups.
    """
    if not board.groups:
        return {}
    arrays = [[artifacts.get(str(run.path), {}) for run in group.runs] for group in board.groups]
    maps = heat_maps(board)
    found = {
        "results": {"table": results(board), "pairs": table(board, pairs)},
        "measures": _measures(board, look),
        "corruptions": {"bars": bar_charts(board, look), "maps": maps} if maps else None,
        "calibration": _calibration(board, look, arrays),
        "vaes": _vaes(board, arrays),
        "training": _lines(board, look, TRAINING),
        "strips": next(filter(None, map(corruption_strips, chain(*arrays))), None),
    }
    return {kind: content for kind, content in found.items() if content}


def _measures(board: Board, look: Mapping[str, Style]) -> dict[str, Any] | None:
    """A dot chart of every measure of the table; None if there is nothing to compare."""
    shown = [(column, rows) for column in columns(board) if (rows := dots(column, board, look))]
    if len(board.groups) < 2:
        return None
    paper = any(row.paper for _, rows in shown for row in rows)
    return {"charts": [dot_chart(column, rows) for column, rows in shown], "paper": paper}


def _calibration(
    board: Board, look: Mapping[str, Style], arrays: Sequence[Sequence[Arrays]]
) -> dict[str, Any] | None:
    """The calibration gap by severity, linearity by radius, and a reliability diagram per group."""
    diagrams = []
    for group, own in zip(board.groups, arrays, strict=True):
        bins = [series.reliability(own, kind) for kind in ("reliability", "reliability_corrupted")]
        if any(part is not None for part in bins):
            diagrams.append(reliability_chart(group, look[group.label], *bins))
    drawn = [*_lines(board, look, CALIBRATION), *diagrams]
    return {"charts": drawn, "reliability": bool(diagrams)} if drawn else None


def _vaes(board: Board, arrays: Sequence[Sequence[Arrays]]) -> dict[str, Any]:
    """For each VAE the groups that used it, and the pictures and curves of the first such run."""
    found: dict[str, Any] = {}
    for group, arrays_of_group in zip(board.groups, arrays, strict=True):
        for run, own in zip(group.runs, arrays_of_group, strict=True):
            vae = run.summary.get("vae") or {}
            key = str(vae.get("key") or run.name)
            if key not in found and (pictures := vae_pictures(own, vae.get("psnr"))):
                found[key] = {"users": {}, "pictures": pictures, "charts": _vae_training(own)}
            if key in found:
                found[key]["users"][group.short] = True
    return found


def _vae_training(arrays: Arrays) -> list[Chart]:
    """Loss, MMD and PSNR of a VAE over its training steps."""
    style, x = Style(INK, INK, "o", "-"), arrays.get("vae_step", np.empty(0))
    drawn = []
    for name, title, ylabel in VAE_CURVES:
        y = arrays.get(f"vae_{name}", np.empty(0))
        if len(x) and len(x) == len(y):
            line = ("VAE", style, pd.DataFrame({"mean": y, "std": 0.0}, index=x))
            drawn.append(line_chart(title, [line], "step", ylabel, logarithmic=name != "psnr"))
    return drawn


def _lines(board: Board, look: Mapping[str, Style], wanted: Sequence[tuple]) -> list[Chart]:
    """A chart for each wanted kind of curve, with one per group; left out if no group has it."""
    drawn = []
    for curve, title, xlabel, ylabel, how in wanted:
        found = [(group, curve(group)) for group in board.groups]
        lines = [(g.short, look[g.label], points) for g, points in found if points is not None]
        drawn += [line_chart(title, lines, xlabel, ylabel, **how)] if lines else []
    return drawn
