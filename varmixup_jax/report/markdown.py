"""The results tables as GitHub's Markdown, and their place between two markers of a README."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from varmixup_jax.report.tables import Grid
from varmixup_jax.whole_files import replace_text

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def markdown(grids: Sequence[Grid]) -> str:
    """The tables in GitHub's Markdown, the best cells in bold, remarks as a list."""
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


def replace_between_markers(readme: Path, text: str) -> None:
    """Puts `text` between the two result markers of a file, atomically.

    Raises:
      ValueError: the file is missing, or does not hold each marker exactly once and in order.
    """
    if not readme.is_file():
        raise ValueError(f"{readme}: missing, must be a file with {BEGIN} and {END}")
    try:
        old = readme.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{readme}: not UTF-8, must be a file with {BEGIN} and {END}") from None
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(BEGIN) > old.index(END):
        raise ValueError(f"{readme}: must hold {BEGIN} and then {END}, each exactly once")
    head, _, rest = old.partition(BEGIN)
    tail = rest.partition(END)[2]
    replace_text(readme, f"{head}{BEGIN}\n{text.strip()}\n{END}{tail}")


def _inert(text: str) -> str:
    """`text` with what Markdown or HTML could act on made harmless; our own arrows stay."""
    text = " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
    return re.sub(r"([\\`*\[\]|])", r"\\\1", text)
