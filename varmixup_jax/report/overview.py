"""One picture that sums up a set of runs: accuracy by method, and what interpolation looks like.

The left half is drawn from the rows; the right half shows two pictures of a run with a VAE, pairs of
images mixed as latents and as pixels, enlarged from the run's arrays by a whole factor.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from varmixup_jax.checks import one_line
from varmixup_jax.report import gallery
from varmixup_jax.report.columns import columns
from varmixup_jax.report.figures import Dot, dots, wrapped
from varmixup_jax.report.measures import Board
from varmixup_jax.report.results_table import TITLES
from varmixup_jax.report.rows import Run
from varmixup_jax.report.style import GRID, INK, MUTED, PAPER, SETTINGS, png, styles

DPI = 100  # pixels of the picture are figure inches / 100: the grids are copied, never resampled
CHART, ROW, MARGIN, CAPTION = 820, 64, 24, 44  # pixels
PAIRS = 4  # rows of a grid that are shown
GRIDS = {
    "latent_grid": "latents mixed, then decoded (λ from 0 to 1)",
    "pixel_grid": "the same pairs, pixels mixed",
}
_TEXT: dict[Any, Any] = {
    "font.size": 14,
    "axes.titlesize": 15,
    "xtick.labelsize": 13,
    "ytick.labelsize": 14,
}


def picture(board: Board, grids: Sequence[tuple[str, np.ndarray]]) -> bytes:
    """`draw` as a PNG file without transparency."""
    with Image.open(io.BytesIO(png(draw(board, grids), DPI))) as image:
        return gallery.encode(np.asarray(image.convert("RGB")))


def draw(board: Board, grids: Sequence[tuple[str, np.ndarray]]) -> Figure:
    """Clean and corrupted accuracy of every row, least corrupted accuracy first; grids beside it.

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
    clean = {dot.label: dot for dot in dots(found["clean"], board, look)}
    tall = sum(image.shape[0] + CAPTION for _, image in grids) + MARGIN
    height = max(110 + ROW * len(rows), tall)
    side = max((image.shape[1] + 2 * MARGIN for _, image in grids), default=0)
    with matplotlib.rc_context({**SETTINGS, **_TEXT}):
        figure = Figure(figsize=((CHART + side) / DPI, height / DPI), dpi=DPI)
        FigureCanvasAgg(figure)
        left, bottom = 235, 92
        box = (left, bottom, CHART - left - MARGIN, height - bottom - 52)
        whole = (CHART + side, height) * 2
        axes = figure.add_axes(tuple(a / b for a, b in zip(box, whole, strict=True)))
        title = f"Accuracy on {TITLES.get(board.dataset, board.dataset)} (%)"
        _chart(axes, title, rows, clean)
        top = height - CAPTION
        for caption, image in grids:
            at = ((CHART + MARGIN) / (CHART + side), (top + 10) / height)
            figure.text(*at, caption, fontsize=15, fontweight="bold", color=INK)
            figure.figimage(image, CHART + MARGIN, top - image.shape[0], origin="upper")
            top -= image.shape[0] + CAPTION
    return figure


def mixing_grids(runs: Sequence[Run]) -> list[tuple[str, np.ndarray]]:
    """The two grids of the first run that has drawn both, each with its caption; none without.

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
    """The first `count` rows of a sheet of images, which transparent lines keep apart."""
    gaps = np.flatnonzero(~sheet[:, :, 3].any(axis=1))
    ends = gaps[np.diff(gaps, prepend=-2) > 1]
    return sheet[: ends[count - 1]] if len(ends) >= count else sheet


def _chart(axes: Axes, title: str, rows: Sequence[Dot], clean: dict[str, Dot]) -> None:
    for y, row in enumerate(rows):
        ends = [row.stat.mean]
        if row.label in clean:
            ends.append(clean[row.label].stat.mean)
            axes.plot(ends[1], y, "|", color=INK, markersize=15, markeredgewidth=2.2)
        axes.hlines(y, min(ends), max(ends), color=GRID, linewidth=5, zorder=1)
        if row.paper is not None:
            axes.plot(row.paper[0], y, "D", color=MUTED, markersize=8, markerfacecolor=PAPER)
        axes.errorbar(
            row.stat.mean, y, xerr=row.stat.std, color=row.style.light, marker=row.style.marker,
            markersize=12, elinewidth=2, zorder=3,
        )  # fmt: skip
        axes.annotate(
            f"{row.stat.mean:.1f}", (row.stat.mean, y), (0, 11), textcoords="offset points",
            ha="center", color=INK,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [wrapped(row.label) for row in rows], linespacing=0.95)
    axes.set_ylim(len(rows) - 0.5, -0.65)
    axes.margins(x=0.07)
    axes.grid(visible=False, axis="y")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title(title, pad=14)
    note = "mark: corrupted images    stroke: clean"
    if any(row.paper is not None for row in rows):
        note += "    hollow: the paper"
    axes.set_xlabel(note, labelpad=12, color=MUTED, fontsize=13)
