"""Writes the files of a report: the page, Markdown tables (also in a README), pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from varmixup_jax import checks
from varmixup_jax.atomic_files import replace_bytes, replace_text
from varmixup_jax.report import gallery, overview
from varmixup_jax.report.markdown import BLOCK, markdown, replace_between_markers
from varmixup_jax.report.measures import Board, board
from varmixup_jax.report.names import TITLES
from varmixup_jax.report.page import render
from varmixup_jax.report.rows import Run, read_run, read_runs
from varmixup_jax.report.same_data import by_data
from varmixup_jax.report.tables import LAYOUTS, paper_and_beyond, results


def write(runs: Sequence[Path], out: Path, baseline: str | None = None) -> Path:
    """Writes `report.html` and `report.md` into `out`.

    Args:
      runs: run directories, or directories that hold some at any depth.
      out: the directory to write to, created if missing.
      baseline: the name of the run that mCE is relative to; None leaves mCE out.

    Returns:
      The path of the page, a single file that needs nothing else.

    Raises:
      ValueError: a directory holds no run, a file is missing or does not parse (file and line are
        named), or there is no finished run called `baseline`.
    """
    found, boards = _boards(runs, baseline)
    artifacts = {str(run.path): _artifacts(run) for run in found if run.done}
    text = render(found, boards, artifacts)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / "report.md", markdown([results(b) for b in boards if b.groups]))
    replace_text(out / "report.html", text)
    return out / "report.html"


def pictures(run_dir: Path) -> list[Path]:
    """Writes the images of a run directory to `run_dir/pictures/`, pixel for pixel.

    Args:
      run_dir: a run directory.

    Returns:
      The PNG files written: of its VAE, and one image under every corruption (rows) and severity.

    Raises:
      ValueError: a file of the run is missing or does not parse.
    """
    run = read_run(run_dir)
    place, arrays = run.path / "pictures", _artifacts(run)
    place.mkdir(exist_ok=True)
    shown = {picture.name: picture.canvas for picture in gallery.vae_pictures(arrays)}
    strips = gallery.corruption_strips(arrays)
    if strips:
        shown["corruption_sheet"] = gallery.stacked([strip.canvas for strip in strips])
    for name, canvas in shown.items():
        replace_bytes(place / f"{name}.png", gallery.encode(canvas))
    return [place / f"{name}.png" for name in shown]


def update_readme(
    runs: Sequence[Path],
    readme: Path,
    baseline: str | None = None,
    layout: str = "short",
    block: str = BLOCK,
) -> None:
    """Puts tables of `runs` between the two markers of a block of a page, atomically.

    Args:
      runs: as in `write`.
      readme: the page, with `<!-- BLOCK:begin -->` and `<!-- BLOCK:end -->`.
      baseline: as in `write`.
      layout: "short" makes two tables with few columns, the paper's methods and what goes beyond;
        "kinds" one with the mean accuracies by kind of corruption; "full" one of all measures.
      block: the name in the markers.

    Raises:
      ValueError: as `write`, the layout is unknown, or the page does not hold each marker once.
    """
    checks.one_of(LAYOUTS, layout=layout)
    boards = [board for board in _boards(runs, baseline)[1] if board.groups]
    if layout == "short":
        grids = [grid for board in boards for grid in paper_and_beyond(board, layout)]
    else:
        grids = [results(board, layout) for board in boards]
    replace_between_markers(Path(readme), markdown(grids), block)


def summary_picture(runs: Sequence[Path], out: Path) -> None:
    """Writes one PNG: accuracy by method, and mixed images if a run has pictures of them.

    Args:
      runs: as in `write`; of several data sets the first in the order of the tables is drawn.
      out: the file, replaced atomically; its directory is created if missing.

    Raises:
      ValueError: as `write`, a picture cannot be read, or no run has all 75 corrupted conditions.
    """
    found, boards = _boards(runs, None)
    replace_bytes(Path(out), overview.picture(boards[0], overview.mixing_grids(found)))


def _artifacts(run: Run) -> dict[str, np.ndarray]:
    arrays = run.artifacts()
    gallery.check_images(arrays, run.path / "artifacts.npz")
    return arrays


def _boards(places: Sequence[Path], baseline: str | None) -> tuple[list[Run], list[Board]]:
    """All the runs, and a board for each data set in the order of the tables."""
    runs = by_data(read_runs(places))
    if baseline is not None:
        checks.one_of([run.name for run in runs if run.done], baseline=baseline)
    names = dict.fromkeys(name for run in runs for name in run.datasets)
    order = sorted(names, key=lambda name: list(TITLES).index(name) if name in TITLES else 99)
    return runs, [board(runs, name, baseline) for name in order]
