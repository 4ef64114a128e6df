"""One picture that summarises a set of runs: accuracy by method, and what interpolation looks like.

The left half is drawn from the rows; the right half shows two pictures of a run with a VAE: pairs of
images mixed as latents and as pixels, enlarged from the run's arrays by a whole factor.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from varmixup_jax.checks import one_line
from varmixup_jax.report import gallery
from varmixup_jax.report.charts import Dot, dots, draw_means, wrapped
from varmixup_jax.report.measures import Board
from varmixup_jax.report.rows import Run
from varmixup_jax.report.style import GRID, INK, MUTED, drawing, png, styles
from varmixup_jax.report.tables import columns

DPI = 100  # pixels of the picture are figure inches / 100: the grids are copied, never resampled
CHART, ROW, MARGIN, CAPTION = 820, 64, 24, 44  # pixels
LEFT, BELOW = 235, 92  # pixels left of and below the chart
WRAP = 21  # characters of a label that fit in LEFT
PAIRS = 4  # rows of a grid that are shown
GRIDS = {
    "latent_grid": "latents mixed, then decoded (λ from 0 to 1)",
    "pixel_grid": "the same pairs, pixels mixed",
}
_TEXT = {"font.size": 14, "axes.titlesize": 15, "xtick.labelsize": 13, "ytick.labelsize": 14}


def picture(board: Board, grids: Sequence[tuple[str, np.ndarray]]) -> bytes:
    """A PNG file: accuracies of every row, the lowest corrupted one first, with grids beside them.

    Args:
      board: finished runs, some with all 75 conditions.
      grids: captions and uint8 `[height, width, 4]` images, one below the other; may be empty.

    Raises:
      ValueError: no run has all 75 conditions.
    """
    look = styles((group.label, group.method) for group in board.groups)
    found = {column.key: column for column in columns(board, ("clean", "corrupted"))}
    if "corrupted" not in found:
        raise ValueError(f"runs on {board.dataset}: none has all of the 15 × 5 corruptions")
    rows = sorted(dots(found["corrupted"], board, look), key=lambda dot: dot.stat.mean)
    clean = {dot.name: dot.stat.mean for dot in dots(found["clean"], board, look)}
    tall = sum(image.shape[0] + CAPTION for _, image in grids) + MARGIN
    height = max(110 + ROW * len(rows), tall)
    width = CHART + max((image.shape[1] + 2 * MARGIN for _, image in grids), default=0)
    with drawing(**_TEXT):
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
        box = np.array([LEFT, BELOW, CHART - LEFT - MARGIN, height - BELOW - 52])
        axes = figure.add_axes(tuple(box / (width, height, width, height)))
        axes.set_title(f"Accuracy on {board.title} (%)", pad=14)
        _chart(axes, rows, clean)
        top = height - CAPTION
        for caption, image in grids:
            at = ((CHART + MARGIN) / width, (top + 10) / height)
            figure.text(*at, caption, fontsize=15, fontweight="bold", color=INK)
            figure.figimage(image, CHART + MARGIN, top - image.shape[0], origin="upper")
            top -= image.shape[0] + CAPTION
        with Image.open(io.BytesIO(png(figure, DPI))) as drawn:
            return gallery.encode(np.asarray(drawn.convert("RGB")))


def mixing_grids(runs: Sequence[Run]) -> list[tuple[str, np.ndarray]]:
    """The two grids of the first run that has both, each with its caption; empty if none has.

    Raises:
      ValueError: a picture of that run cannot be read.
    """
    for run in runs:
        places = {name: run.path / "pictures" / f"{name}.png" for name in GRIDS}
        if run.done and all(place.is_file() for place in places.values()):
            return [(GRIDS[name], _pixels(place)) for name, place in places.items()]
    return []


def _pixels(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return first_rows(np.asarray(image.convert("RGBA")), PAIRS)
    except Exception as error:  # Pillow documents no set of errors for damaged files
        raise ValueError(f"{path}: not a readable picture ({one_line(error)})") from None


def first_rows(sheet: np.ndarray, count: int) -> np.ndarray:
    """The first `count` rows of a sheet of images, which are separated by transparent lines."""
    gaps = np.flatnonzero(~sheet[:, :, 3].any(axis=1))
    ends = gaps[np.diff(gaps, prepend=-2) > 1]
    return sheet[: ends[count - 1]] if len(ends) >= count else sheet


def _chart(axes: Axes, rows: Sequence[Dot], clean: dict[str, float]) -> None:
    draw_means(axes, rows, [wrapped(row.name, WRAP) for row in rows], size=12)
    for y, row in enumerate(rows):
        mean, other = row.stat.mean, clean.get(row.name, row.stat.mean)
        if row.name in clean:
            axes.plot(other, y, "|", color=INK, markersize=15, markeredgewidth=2.2)
        axes.hlines(y, min(mean, other), max(mean, other), color=GRID, linewidth=5, zorder=1)
        axes.annotate(
            f"{mean:.1f}", (mean, y), (0, 11), textcoords="offset points", ha="center", color=INK
        )
    axes.margins(x=0.07)
    axes.tick_params(length=0)
    paper = "    hollow: the paper" if any(row.paper is not None for row in rows) else ""
    note = f"mark: corrupted images    stroke: clean{paper}"
    axes.set_xlabel(note, labelpad=12, color=MUTED, fontsize=13)
