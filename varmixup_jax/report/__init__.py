"""From run directories to a page, a Markdown table and pictures, without touching JAX.

`write` puts methods side by side over their seeds; `pictures` draws a single run. Every number
shown is read from the runs' files: a report never runs a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from varmixup_jax import checks
from varmixup_jax.report import gallery
from varmixup_jax.report.drawing import pictures
from varmixup_jax.report.markdown import markdown, replace_between_markers
from varmixup_jax.report.measures import Board, board
from varmixup_jax.report.page import render
from varmixup_jax.report.rows import Run, read_runs
from varmixup_jax.report.tables import TITLES, results
from varmixup_jax.whole_files import replace_text

__all__ = ["pictures", "update_readme", "write"]


def write(runs: Sequence[Path], out: Path, baseline: str | None = None) -> Path:
    """Writes `report.html` and `report.md` into `out`.

    Args:
      runs: run directories, or directories that hold some at any depth.
      out: the directory to write to, made where it is missing.
      baseline: the name of the run that mCE is relative to; None leaves mCE out.

    Returns:
      The path of the page, a single file that needs nothing else.

    Raises:
      ValueError: a directory holds no run, a file is missing or does not parse (file and line are
        named), or there is no finished run called `baseline`.
    """
    found = read_runs(runs)
    boards = _boards(found, baseline)
    artifacts = {}
    for run in found:
        if run.done:
            arrays = run.artifacts()
            gallery.check_images(arrays, run.path / "artifacts.npz")
            artifacts[str(run.path)] = arrays
    text = render(found, boards, artifacts)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / "report.md", _markdown(boards))
    replace_text(out / "report.html", text)
    return out / "report.html"


def update_readme(runs: Sequence[Path], readme: Path, baseline: str | None = None) -> None:
    """Puts the results tables of `runs` between the two result markers of a README, atomically.

    Methods without a finished run have a row that says so.

    Raises:
      ValueError: as `write`, or the README does not hold each marker once.
    """
    boards = _boards(read_runs(runs), baseline)
    replace_between_markers(Path(readme), _markdown(boards, every_method=True))


def _boards(runs: Sequence[Run], baseline: str | None) -> list[Board]:
    if baseline is not None:
        checks.one_of([run.name for run in runs if run.done], baseline=baseline)
    names = dict.fromkeys(name for run in runs for name in run.datasets)
    order = sorted(names, key=lambda name: list(TITLES).index(name) if name in TITLES else 99)
    return [board(runs, name, baseline) for name in order]


def _markdown(boards: Sequence[Board], *, every_method: bool = False) -> str:
    return markdown([results(b, every_method=every_method) for b in boards if b.groups])
