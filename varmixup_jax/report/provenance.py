"""Where the numbers come from: the opening paragraph, the configurations, a line per run."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

from varmixup_jax.report.measures import Board
from varmixup_jax.report.results_table import TITLES, Cell
from varmixup_jax.report.rows import Run
from varmixup_jax.report.run_settings import differing_fields, field_text

VALUES_IN_A_CELL = 6  # of a field that takes many values among the runs of one method
SHA_DIGITS = 12
Table = tuple[list[str], list[list[Cell]]]  # headings and rows


def summary(runs: Sequence[Run], boards: Sequence[Board]) -> str:
    """One paragraph: data sets, runs, seeds, schedule, hardware."""
    done = [run for run in runs if run.done]
    names = ", ".join(TITLES.get(board.dataset, board.dataset) for board in boards)
    methods = len({run.method for run in runs})
    parts = [f"{names}: {_plural(len(runs), 'run')} of {_plural(methods, 'method')}"]
    counts = [(s, sum(run.status == s for run in runs)) for s in ("failed", "running")]
    other = [
        f"{count} {'failed' if s == 'failed' else 'unfinished'}" for s, count in counts if count
    ]
    if other:
        parts.append(f" ({len(done)} done, {', '.join(other)}: listed below, in no mean)")
    seeds = sorted({run.seed for run in runs})
    parts.append(f", {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}. ")
    schedule = [
        _spread([run.config.get("model.name") for run in done], "", ""),
        _spread([run.summary.get("parameters") for run in done], "", " parameters"),
        _spread([run.summary.get("epochs") for run in done], "", " epochs"),
        _spread([run.summary.get("steps") for run in done], "", " steps"),
        _spread([run.config.get("batch_size") for run in done], "batch size ", ""),
    ]
    if any(schedule):
        parts.append(f"{', '.join(part for part in schedule if part)}. ")
    devices = _spread([run.summary.get("device") for run in done], "Hardware: ", "")
    if devices:
        parts.append(f"{devices}. ")
    walls = [run.summary.get("wall_seconds") for run in runs]
    total = sum(wall for wall in walls if isinstance(wall, (int, float)))
    if total:
        parts.append(f"Wall time of all runs together: {clock(total)}.")
    return "".join(parts).strip()


def differing(runs: Sequence[Run]) -> Table | None:
    """The fields in which the runs differ, a column per method; None where there are none."""
    fields = differing_fields([run.config for run in runs])
    methods = list(dict.fromkeys(run.method for run in runs))
    members = [[run for run in runs if run.method == method] for method in methods]
    rows = [[Cell(name), *(Cell(_values(part, name)) for part in members)] for name in fields]
    return (["Field", *methods], rows) if fields else None


def clock(seconds: float) -> str:
    """A duration as people write it.

    >>> [clock(s) for s in (4.21, 75, 7385)]
    ['4.2 s', '1 min 15 s', '2 h 03 min']
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _values(runs: Iterable[Run], name: str) -> str:
    values = list(dict.fromkeys(field_text(run.config, name) for run in runs))
    more = len(values) - VALUES_IN_A_CELL
    tail = [f"and {more} more"] if more > 0 else []
    return ", ".join(values[:VALUES_IN_A_CELL] + tail)


def _spread(values: Iterable[object], before: str, after: str) -> str:
    """One value as it is, several as a range (numbers) or a list; "" of none."""
    plain = (
        v if isinstance(v, (int, float, str)) else json.dumps(v) for v in values if v is not None
    )
    known = list(dict.fromkeys(plain))
    if not known:
        return ""
    numbers = [value for value in known if isinstance(value, (int, float))]
    if len(numbers) == len(known):
        low, high = min(numbers), max(numbers)
        text = _count(low) if low == high else f"{_count(low)} to {_count(high)}"
    else:
        text = ", ".join(map(str, known))
    return f"{before}{text}{after}"


def _count(value: float) -> str:
    whole = math.isfinite(value) and value == int(value)
    return f"{int(value):,}" if whole else f"{value:g}"


def commit(git: object) -> str:
    """A commit cut short; that the tree had changes stays visible."""
    commit, mark, _ = or_dash(git).partition("-dirty")
    return commit[:SHA_DIGITS] + mark


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def or_dash(value: object) -> str:
    """A value that may be missing."""
    return "–" if value is None or value == "" else str(value)
