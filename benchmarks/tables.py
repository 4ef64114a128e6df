"""Writes the tables of a page from the JSON files of benchmarks.

    python -m benchmarks.tables DIR --into docs/benchmarks.md

A pair of lines `<!-- table:NAME -->` and `<!-- end -->` in the page encloses what is made from
DIR/NAME.json: the command, the hardware and the rows. Without that file, the text between them stays.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from benchmarks.report import HEADER, describe, line
from benchmarks.timing import Row

MARKED = re.compile(r"<!-- table:(?P<name>\w+) -->\n(?P<body>.*?)<!-- end -->", re.DOTALL)


def table(content: dict[str, Any]) -> str:
    """One benchmark's JSON as Markdown."""
    seen = content["provenance"]
    lines = [f"    {content['command']}", "", f"{describe(seen)}.{busy(seen)}", "", HEADER]
    lines += [line(Row(**row)) for row in content["rows"]]
    return "\n".join(lines) + "\n"


def busy(seen: dict[str, Any]) -> str:
    """A warning if other processes used more than a tenth of a core meanwhile."""
    if seen["others"] <= 0.1:
        return ""
    return f" **Other processes kept {seen['others']} cores busy: do not trust the ratios.**"


def filled(page: str, folder: Path) -> str:
    """The page with every table replaced for which there is a file."""

    def one(match: re.Match) -> str:
        path = folder / f"{match['name']}.json"
        if not path.exists():
            return match[0]
        body = table(json.loads(path.read_text(encoding="utf-8")))
        return f"<!-- table:{match['name']} -->\n{body}<!-- end -->"

    return MARKED.sub(one, page)


def main(argv: list[str] | None = None) -> None:
    """Rewrites the page, or prints all tables of the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--into", type=Path, default=None, help="the page; default: print")
    args = parser.parse_args(argv)
    if args.into is None:
        for path in sorted(args.folder.glob("*.json")):
            print(f"{path.stem}\n\n{table(json.loads(path.read_text(encoding='utf-8')))}")
        return
    page = args.into.read_text(encoding="utf-8")
    args.into.write_text(filled(page, args.folder), encoding="utf-8")


if __name__ == "__main__":
    main()
