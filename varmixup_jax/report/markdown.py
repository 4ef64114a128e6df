"""The results tables as GitHub's Markdown, and their place between two markers of a README."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from varmixup_jax.report.tables import Grid

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
    write_text(readme, f"{head}{BEGIN}\n{text.strip()}\n{END}{tail}")


def write_text(path: Path, text: str) -> None:
    """Writes a file so that a reader sees the old text or the new, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            # Half a character, which JSON can name, is no UTF-8: written as its escape.
            file.write(text.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _inert(text: str) -> str:
    """`text` with what Markdown or HTML could act on made harmless; our own arrows stay."""
    text = " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
    return re.sub(r"([\\`*\[\]|])", r"\\\1", text)
