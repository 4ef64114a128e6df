"""The page: one HTML file with everything in it, for a desk and a phone, light and dark."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from varmixup_jax.report import images, markup, provenance, sections
from varmixup_jax.report.measures import Board
from varmixup_jax.report.rows import Run
from varmixup_jax.report.sections import Scene
from varmixup_jax.report.style import colours, styles
from varmixup_jax.report.tables import TITLES, results
from varmixup_jax.report.theme import CSS


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
    several = len(boards) > 1
    parts = []
    for board in boards:
        title = TITLES.get(board.dataset, board.dataset)
        blocks = [block for block in _dataset(board, artifacts, title if several else "") if block]
        if several and blocks:
            parts.append(f'<h1 class="dataset">{markup.escape(title)}</h1>')
        parts += blocks
    parts.append(markup.section("Configurations", provenance.configurations(runs)))
    parts.append(markup.section("Runs", provenance.run_table(runs)))
    body = "\n".join(parts)
    names = ", ".join(TITLES.get(board.dataset, board.dataset) for board in boards)
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Results on {markup.escape(names)}</title>\n"
        f"<style>\n{_variables()}{CSS}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>Results on {markup.escape(names)}</h1>\n"
        f"{markup.paragraph(provenance.summary(runs, boards), 'lead')}\n{_contents(body)}\n"
        f"</header>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _dataset(
    board: Board, artifacts: Mapping[str, Mapping[str, np.ndarray]], scope: str
) -> list[str]:
    if not board.groups:
        return []
    look = styles((group.label, group.method) for group in board.groups)
    scene = Scene(board, look, artifacts)
    return [
        markup.section(title, blocks, scope)
        for title, blocks in (
            ("Results", [markup.results_table(results(board))]),
            ("Measures side by side", sections.measures(scene)),
            ("What the VAE does", images.autoencoders(scene)),
            ("Training", sections.training_curves(scene)),
            ("Reliability", sections.reliability(scene)),
            ("Calibration and linearity", sections.calibration_and_linearity(scene)),
            ("Under corruption", sections.corruption_accuracy(scene)),
            ("One image under every corruption", images.corruption_sheet(scene)),
        )
    ]


def _contents(body: str) -> str:
    links = re.findall(r'<section id="([^"]+)">\n<h2>([^<]*)</h2>', body)
    items = "".join(f'<a href="#{name}">{title}</a>' for name, title in links)
    return f'<nav aria-label="Sections">{items}</nav>'


def _variables() -> str:
    """Every colour of the charts as a variable, set for the light and for the dark theme."""
    light = "".join(f"--{colour[1:]}:{colour};" for colour in colours())
    dark = "".join(f"--{colour[1:]}:{twin};" for colour, twin in colours().items())
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"
