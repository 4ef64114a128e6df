"""The page: one HTML file with everything in it, for a desk and a phone, light and dark."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence

import jinja2
import numpy as np

from varmixup_jax.report import gallery, provenance
from varmixup_jax.report.measures import Board
from varmixup_jax.report.results_table import PAPER_PREFIX, TITLES
from varmixup_jax.report.rows import Run
from varmixup_jax.report.sections import Scene, sections
from varmixup_jax.report.style import colours, key, styles, svg


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
        title = TITLES.get(board.dataset, board.dataset) if len(boards) > 1 else ""
        look = styles((group.label, group.method) for group in board.groups)
        found = [
            {"title": name, "id": slug(f"{title} {name}"), "blocks": blocks}
            for name, blocks in sections(Scene(board, look, artifacts))
        ]
        parts.append({"title": found and title, "sections": found})
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("varmixup_jax.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"svg": svg, "key": key, "data_uri": data_uri, "json": _json}
    environment.filters |= {
        name: getattr(provenance, name) for name in ("clock", "commit", "or_dash")
    }
    return environment.get_template("page.html").render(
        names=", ".join(TITLES.get(board.dataset, board.dataset) for board in boards),
        lead=provenance.summary(runs, boards),
        parts=parts,
        runs=runs,
        differing=provenance.differing(runs),
        colours=colours(),
        paper_prefix=PAPER_PREFIX,
        sha_digits=provenance.SHA_DIGITS,
    )


def slug(text: str) -> str:
    """An id: lower-case letters, digits and hyphens.

    >>> slug("Under corruption, <CIFAR-10>")
    'under-corruption-cifar-10'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"


def data_uri(canvas: np.ndarray) -> str:
    """An RGBA image as the value of an `src` attribute."""
    return "data:image/png;base64," + base64.b64encode(gallery.encode(canvas)).decode("ascii")


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)
