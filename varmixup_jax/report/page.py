"""The page: one self-contained HTML file, for desktop and phone, in light and dark mode."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence

import jinja2
import numpy as np

from varmixup_jax.report import gallery
from varmixup_jax.report.findings import sentences
from varmixup_jax.report.measures import Board
from varmixup_jax.report.page_sections import sections
from varmixup_jax.report.rows import Run
from varmixup_jax.report.settings import differing_fields, field_text
from varmixup_jax.report.significance import pairs
from varmixup_jax.report.style import colours, key, styles, svg
from varmixup_jax.report.tables import PAPER_PREFIX, Cell, Grid, set_up

VALUES_IN_A_CELL = 6  # shown for a field that takes many values among the runs of one method
DIGITS = 12  # of a commit


def render(
    runs: Sequence[Run],
    boards: Sequence[Board],
    artifacts: Mapping[str, Mapping[str, np.ndarray]],
) -> str:
    """The whole page as text.

    Args:
      runs: every run, finished or not.
      boards: one per data set, in the order of the page.
      artifacts: the arrays of each run by its path; runs without any may be left out.
    """
    parts = []
    for board in boards:
        look = styles((group.label, group.method) for group in board.groups)
        compared = pairs(board)
        parts.append(
            {
                "dataset": board.title,
                "title": board.title if len(boards) > 1 else "",
                "set_up": set_up(board) if board.groups else "",
                "bands": board.seeds > 1,
                "look": [(group.short, look[group.label]) for group in board.groups],
                "findings": sentences(board, compared),
                "sections": sections(board, look, artifacts, compared),
            }
        )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("varmixup_jax.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"svg": svg, "key": key, "data_uri": data_uri, "json": _json}
    environment.filters |= {"clock": clock, "or_dash": or_dash, "commit": commit}
    return environment.get_template("page.html").render(
        names=", ".join(board.title for board in boards),
        parts=parts,
        runs=runs,
        differing=differing(runs),
        colours=colours(),
        paper_prefix=PAPER_PREFIX,
    )


def differing(runs: Sequence[Run]) -> Grid | None:
    """The fields in which the runs differ, a column per method; None if there are none."""
    fields = differing_fields([run.config for run in runs])
    methods = dict.fromkeys(run.method for run in runs)

    def values(method: str, name: str) -> Cell:
        found = list(dict.fromkeys(field_text(r.config, name) for r in runs if r.method == method))
        more = len(found) - VALUES_IN_A_CELL
        return Cell(", ".join(found[:VALUES_IN_A_CELL] + [f"and {more} more"] * (more > 0)))

    rows = tuple((Cell(name), *(values(method, name) for method in methods)) for name in fields)
    return Grid("", ("Field", *methods), rows) if rows else None


def data_uri(canvas: np.ndarray) -> str:
    """An RGBA image as the value of an `src` attribute."""
    return "data:image/png;base64," + base64.b64encode(gallery.encode(canvas)).decode("ascii")


def clock(seconds: float) -> str:
    """A duration in readable form.

    >>> [clock(s) for s in (4.21, 75, 7385)]
    ['4.2 s', '1 min 15 s', '2 h 03 min']
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left:02d} min" if hours else f"{minutes} min {rest:02d} s"


def commit(git: object) -> str:
    """A shortened commit; still says if the tree had changes."""
    found, mark, _ = or_dash(git).partition("-dirty")
    return found[:DIGITS] + mark


def or_dash(value: object) -> str:
    """A value that may be missing."""
    return "–" if value is None or value == "" else str(value)


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
