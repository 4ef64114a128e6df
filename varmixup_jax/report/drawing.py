"""The pictures of a single run, as PNG files beside its results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from varmixup_jax.report import figures, gallery, series
from varmixup_jax.report.corruption_charts import heat_limits, heat_map
from varmixup_jax.report.measures import Board, Group, Measures, board
from varmixup_jax.report.rows import Run, read_run
from varmixup_jax.report.sections import CURVES
from varmixup_jax.report.style import Style, png, styles


def pictures(run_dir: Path) -> list[Path]:
    """Draws what a run directory holds into `run_dir/pictures/`.

    Training curves are drawn of any run, all else of whatever its files have.

    Args:
      run_dir: a run directory.

    Returns:
      The PNG files written, in the order of the report.

    Raises:
      ValueError: a file of the run is missing or does not parse.
    """
    run = read_run(run_dir)
    place = run.path / "pictures"
    written = []
    for name, content in _pictures(run):
        place.mkdir(exist_ok=True)
        path = place / f"{name}.png"
        path.write_bytes(png(content) if isinstance(content, Figure) else gallery.encode(content))
        written.append(path)
    return written


def _pictures(run: Run) -> Iterator[tuple[str, Figure | np.ndarray]]:
    arrays = run.artifacts()
    gallery.check_images(arrays, run.path / "artifacts.npz")
    style = styles([(run.method, run.method)])[run.method]
    if {"originals", "reconstructions"} <= set(arrays):
        yield (
            "reconstructions",
            gallery.reconstruction_sheet(arrays["originals"], arrays["reconstructions"]),
        )
    if "prior_samples" in arrays:
        yield "prior_samples", gallery.sample_sheet(arrays["prior_samples"])
    for name in ("latent_grid", "pixel_grid"):
        if name in arrays:
            yield name, gallery.sheet(arrays[name][: gallery.MOST_PAIRS])
    yield from _training(run, style)
    clean = series.reliability([arrays], "reliability")
    corrupted = series.reliability([arrays], "reliability_corrupted")
    if clean is not None or corrupted is not None:
        yield "reliability", figures.reliability_chart(run.name, style, clean, corrupted)
    yield from _measured(run, style)
    if "corruption_sheet" in arrays:
        yield (
            "corruption_sheet",
            gallery.corruption_figure(arrays["corruption_sheet"], arrays["corruption_names"]),
        )


def _training(run: Run, style: Style) -> Iterator[tuple[str, Figure]]:
    for name, title, label, percent, _ in CURVES:
        curve = series.training_curve([run], name)
        if curve is not None:
            yield (
                f"training_{name}",
                figures.line_chart(title, [(style, curve)], "step", label, percent=percent),
            )


def _measured(run: Run, style: Style) -> Iterator[tuple[str, Figure]]:
    found: Board = board([run], run.dataset)
    if not found.groups:
        return
    group = Group(run.method, run.name, (Measures(run, run.dataset, found.split),))
    gap, linearity = series.gap_curve(group), series.linearity_curve(group)
    if gap is not None:
        yield "calibration_gap", figures.line_chart(
            "Signed calibration gap by severity", [(style, gap)], "severity (0: clean)",
            "confidence − accuracy (%)", markers=True, percent=True, zero=True,
        )  # fmt: skip
    if linearity is not None:
        yield "linearity", figures.line_chart(
            "Local linearity error by radius", [(style, linearity)], "ε (1/255)", "error (nats)",
            markers=True,
        )  # fmt: skip
    limits = heat_limits(found)
    if limits is not None:
        yield "corruptions", heat_map(group, limits)
