"""The few HTML shapes the page is made of; every string from a file is escaped here."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from matplotlib.figure import Figure

from varmixup_jax.report.style import Style, data_uri, key, svg
from varmixup_jax.report.tables import PAPER_PREFIX, Cell, Grid


def escape(value: object) -> str:
    """Text that no browser takes for markup, in content or in a quoted attribute.

    >>> escape('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(str(value), quote=True)


def slug(text: str) -> str:
    """An id: lower-case letters, digits and hyphens.

    >>> slug("Under corruption, <CIFAR-10>")
    'under-corruption-cifar-10'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"


def section(title: str, blocks: Iterable[str], scope: str = "") -> str:
    """A section with a heading; "" where there is nothing in it.

    Args:
      title: plain text.
      blocks: finished HTML; empty ones are dropped.
      scope: put before the id, to keep the sections of several data sets apart.
    """
    inner = [block for block in blocks if block]
    if not inner:
        return ""
    name = slug(f"{scope} {title}")
    return f'<section id="{name}">\n<h2>{escape(title)}</h2>\n' + "\n".join(inner) + "\n</section>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f"<p{f' class={kind}' if kind else ''}>{escape(text)}</p>"


def table(headings: Sequence[str], rows: Sequence[Sequence[Cell]], kind: str = "numbers") -> str:
    """A table in a box that scrolls sideways on a small screen; the first column stays in view.

    Columns whose heading begins with `PAPER_PREFIX` are set apart from ours.
    """
    classes = [' class="paper"' if h.startswith(PAPER_PREFIX) else "" for h in headings]
    head = "".join(
        f'<th scope="col"{mark}><span>{escape(heading)}</span></th>'
        for heading, mark in zip(headings, classes, strict=True)
    )
    lines = []
    for first, *others in rows:
        cells = "".join(
            f"<td{mark}>{f'<b>{escape(cell.text)}</b>' if cell.best else escape(cell.text)}</td>"
            for cell, mark in zip(others, classes[1:], strict=True)
        )
        lines.append(f'<tr><th scope="row"><span>{escape(first.text)}</span></th>{cells}</tr>')
    body = "\n".join(lines)
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}">'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def results_table(grid: Grid) -> str:
    """The results of one data set with their remarks."""
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in grid.remarks)
    text = table(grid.headings, grid.rows, "numbers results")
    return f'{text}\n<ul class="remarks">{remarks}</ul>'


def chart(figure: Figure, title: str) -> str:
    """A chart as inline SVG."""
    return f'<figure class="chart">{svg(figure, escape(title))}</figure>'


def picture(png: bytes, width: int, caption: str) -> str:
    """An image of pixels with its caption; `width` is that of the file."""
    return (
        f'<figure class="picture"><img src="{data_uri(png)}" alt="{escape(caption)}" '
        f'width="{width}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def charts(figures: Iterable[str]) -> str:
    """Charts side by side where there is room, below one another where there is not."""
    inner = "\n".join(figures)
    return f'<div class="charts">\n{inner}\n</div>' if inner else ""


def pictures(figures: Iterable[str]) -> str:
    """Pictures side by side where there is room."""
    inner = "\n".join(figures)
    return f'<div class="pictures">\n{inner}\n</div>' if inner else ""


def legend(look: Sequence[tuple[str, Style]], notes: Sequence[str] = ()) -> str:
    """One legend for all charts of a section: line, marker and name of each method."""
    items = [f"<li>{key(style)}{escape(label)}</li>" for label, style in look]
    items += [f'<li class="note">{escape(note)}</li>' for note in notes]
    return f'<ul class="legend">{"".join(items)}</ul>'


def folded(title: str, inner: str) -> str:
    """A block that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>\n{inner}\n</details>"


def listing(text: str) -> str:
    """Preformatted text."""
    return f"<pre>{escape(text)}</pre>"
