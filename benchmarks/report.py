"""The output of a benchmark: a table printed row by row, and a JSON file that includes provenance."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks.timing import Row
from varmixup_jax import compilation
from varmixup_jax.atomic_files import replace_text

PACKAGES = ("varmixup_jax", "jax", "jaxlib", "flax", "optax", "torch", "numpy")


class Report:
    """The rows of one benchmark, printed as they come and saved in a JSON file after each piece.

    A piece that raises leaves a row with its error, and the next one runs. In miniature no row has
    a goal: goals are for full sizes.

    Args:
      name: of the benchmark, its module.
      args: the result of `arguments`; `args.out` is the JSON file, or None.
      argv: what was parsed, None for the command line.
    """

    def __init__(self, name: str, args: argparse.Namespace, argv: Sequence[str] | None) -> None:
        compilation.choose_flags()  # as the commands do; children inherit them
        self.name, self.out, self.goals = name, args.out, not args.small
        words = list(sys.argv[1:] if argv is None else argv)
        if "--out" in words:
            at = words.index("--out")
            del words[at : at + 2]
        self.command = " ".join([f"python -m benchmarks.{name}", *words])
        self.rows: list[Row] = []
        self.provenance, self._started = provenance(), _usage()
        print(f"{name}: {describe(self.provenance)}\n{HEADER}", flush=True)

    def piece(self, what: str, run: Callable[[], Iterable[Row]]) -> None:
        """Runs one piece and keeps its rows, or one row that says why there are none."""
        found: list[Row] = []
        try:
            for row in run():
                found.append(row if self.goals else row._replace(goal=None))
                print(line(found[-1]), flush=True)
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0].replace("|", "/")
            found.append(Row(what, error=text[:300]))
            print(line(found[-1]), flush=True)
        self.rows += found
        self.save()

    def keep(self, rows: Iterable[Row]) -> None:
        """Adds rows that need no running."""
        for row in rows:
            self.rows.append(row)
            print(line(row), flush=True)
        self.save()

    def save(self) -> None:
        """Writes the file atomically."""
        if self.out is None:
            return
        content = {
            "benchmark": self.name,
            "command": self.command,
            "provenance": self.provenance | {"others": _others(self._started)},
            "rows": [row._asdict() for row in self.rows],
        }
        replace_text(self.out, json.dumps(content, indent=1) + "\n")


HEADER = "| what | ours | peer | ratio | range | goal |\n|---|---|---|---|---|---|"


def line(row: Row) -> str:
    """The row as a line of Markdown."""
    if row.error:
        return f"| {row.what} | {row.error} | | | | |"
    goal = ""
    if row.goal is not None:
        goal = f"{'≥' if row.at_least else '≤'} {row.goal:.3g}, {'met' if row.met() else 'missed'}"
    unit = f" {row.unit}" if row.unit else ""
    span = "" if row.low == row.high else f"{row.low:.2f}–{row.high:.2f}"
    return (
        f"| {row.what} | {row.ours_name}: {number(row.ours)}{unit} "
        f"| {row.peer_name}: {number(row.peer)}{unit} | {row.ratio:.3g} | {span} | {goal} |"
    )


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def provenance() -> dict[str, Any]:
    """Device, versions, environment and date: what a result depends on besides the code."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    devices = jax.devices()
    return {
        "backend": jax.default_backend(),
        "device": devices[0].device_kind,
        "devices": len(devices),
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor(),
        "python": platform.python_version(),
        "versions": versions,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def describe(provenance: Mapping[str, Any]) -> str:
    """Hardware and the versions that matter most, one line."""
    if provenance["backend"] == "cpu":
        hardware = f"{provenance['cores']} CPU cores ({provenance['processor']})"
    else:
        hardware = f"{provenance['devices']} × {provenance['device']}"
    shown = [f"{n} {v}" for n, v in provenance["versions"].items() if n in ("jax", "flax", "torch")]
    return ", ".join([hardware, *shown])


def processor() -> str:
    """The processor's name, as reported by the system."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [part.split(":", 1)[1].strip() for part in text.splitlines() if "model name" in part]
    return names[0] if names else platform.machine()


def arguments(description: str, **defaults: Any) -> argparse.ArgumentParser:
    """The options that all benchmarks share; `defaults` change them."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--out", type=Path, default=None, help="JSON file of the rows")
    parser.add_argument("--repeats", type=int, default=5, help="alternating repeats")
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one measurement")
    parser.add_argument("--small", action="store_true", help="miniature sizes, to try the script")
    parser.set_defaults(**defaults)
    return parser


def _usage() -> tuple[float, float, float]:
    """Clock, CPU seconds of the whole machine, and those of this process and its children."""
    machine = 0.0
    with contextlib.suppress(OSError):
        ticks = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
        # user, nice, system, idle, iowait, irq, softirq
        machine = sum(int(ticks[i]) for i in (0, 1, 2, 5, 6)) / os.sysconf("SC_CLK_TCK")
    own = os.times()
    return time.monotonic(), machine, sum(own[:4])


def _others(since: tuple[float, float, float]) -> float:
    """CPU cores that other processes kept busy since then, on average."""
    clock, machine, own = (b - a for a, b in zip(since, _usage(), strict=True))
    return round(max(machine - own, 0.0) / max(clock, 1e-9), 2)
