"""`python -m varmixup_jax.report RUN [RUN ...]`: the page and the table, or a README's table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from varmixup_jax import report
from varmixup_jax.atomic_files import user_path
from varmixup_jax.report.markdown import BLOCK
from varmixup_jax.report.tables import LAYOUTS

DESCRIPTION = """Compares runs: writes report.html and report.md, mean ± std over seeds.

examples:
  varmixup report runs/a runs/b --out=compared
  varmixup report results --readme=README.md --tables=full"""


def parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="varmixup report",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    places: dict[str, dict[str, Any]] = {
        "runs": {"nargs": "+", "metavar": "RUN", "help": "a run directory, or one that holds some"},
        "--out": {"metavar": "DIR", "help": "where to write the report (default: ./report)"},
        "--readme": {
            "metavar": "FILE",
            "help": "replace the tables between the markers of FILE; with this or "
            "--picture no report is written unless --out is given",
        },
        "--picture": {
            "metavar": "FILE",
            "help": "write one PNG of accuracy by method, and of a run's mixed images",
        },
    }
    for name, settings in places.items():
        parser.add_argument(name, type=user_path, **settings)
    parser.add_argument("--baseline", metavar="NAME", help="the run that mCE is relative to")
    parser.add_argument(
        "--tables",
        choices=LAYOUTS,
        default="short",
        help="those of --readme: two of few columns, the paper's methods and what goes beyond "
        "(short, the default); one with means by kind of corruption; one of all measures",
    )
    parser.add_argument(
        "--block",
        metavar="NAME",
        default=BLOCK,
        help="of the markers <!-- NAME:begin --> and <!-- NAME:end --> (default: %(default)s)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 0 on success, 2 with one line on standard error on a refusal."""
    options = parser().parse_args(arguments)
    try:
        if options.readme is not None:
            report.update_readme(
                options.runs, options.readme, options.baseline, options.tables, options.block
            )
            print(options.readme)
        if options.picture is not None:
            report.summary_picture(options.runs, options.picture)
            print(options.picture)
        if options.out is not None or not (options.readme or options.picture):
            print(report.write(options.runs, options.out or Path("report"), options.baseline))
    except (ValueError, OSError) as error:
        print(f"varmixup_jax.report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
