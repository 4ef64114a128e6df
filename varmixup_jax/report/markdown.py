"""Writes the results tables as GitHub Markdown, and inserts them between two markers of a README."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from varmixup_jax.atomic_files import replace_text
from varmixup_jax.report.tables import Grid

BLOCK = "results"  # the name of a README's own block


def markdown(grids: Sequence[Grid]) -> str:
    """The tables in GitHub Markdown, the best cells in bold, remarks as a list."""
    parts = []
    for grid in grids:
        lines = [f"**{_inert(grid.title)}**", ""]
        lines.append("| " + " | ".join(map(_inert, grid.headings)) + " |")
        lines.append("|" + "|".join(["---", *["---:"] * (len(grid.headings) - 1)]) + "|")
        for row in grid.rows:
            texts = [f"**{_inert(c.text)}**" if c.best else _inert(c.text) for c in row]
            lines.append("| " + " | ".join(texts) + " |")
        lines += ["", *(f"- {_inert(remark)}" for remark in grid.remarks)]
        parts.append("\n".join(lines).rstrip())
    return "\n\n".join(parts) + "\n"


def markers(block: str = BLOCK) -> tuple[str, str]:
    """The lines that enclose a block.

    >>> markers("results")
    ('<!-- results:begin -->', '<!-- results:end -->')
    """
    return f"<!-- {block}:begin -->", f"<!-- {block}:end -->"


def replace_between_markers(readme: Path, text: str, block: str = BLOCK) -> None:
    """Puts `text` between the two markers of a block of a file, atomically.

    Raises:
      ValueError: the file is missing, or does not hold each marker exactly once and in order.
    """
    begin, end = markers(block)
    if not readme.is_file():
        raise ValueError(f"{readme}: missing, must be a file with {begin} and {end}")
    try:
        old = readme.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{readme}: not UTF-8, must be a file with {begin} and {end}") from None
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise ValueError(f"{readme}: must hold {begin} and then {end}, each exactly once")
    head, _, rest = old.partition(begin)
    tail = rest.partition(end)[2]
    replace_text(readme, f"{head}{begin}\n{text.strip()}\n{end}{tail}")


def _inert(text: str) -> str:
    """`text` with Markdown and HTML syntax escaped; our own arrows stay."""
    text = " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
    return re.sub(r"([\\`*\[\]|])", r"\\\1", text)
