"""What the rows of a table and the lines of a chart are called.

`varmixup · clean 0.5 · VAE 8×8×4`: the method, every setting of its own that is not the method's
default, and what else sets the row apart from the others beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from varmixup_jax.report.defaults import DEFAULTS
from varmixup_jax.report.rows import Run
from varmixup_jax.report.run_settings import NOT_SETTINGS, differing_fields, usual
from varmixup_jax.report.vaes import vae_names
from varmixup_jax.report.words import SHARED, field_words, method_words

SEPARATOR = " · "
MOST_SHARED = 3  # fields named of those that are the same for every method; the rest are counted
# Named at their defaults too: a step's cost, which nobody knows by heart.
ALWAYS = frozenset({"views"})


def changed_settings(run: Run) -> list[str]:
    """The names of the method's own settings that are not its defaults, in the file's order.

    A setting without a known default, as of a method registered elsewhere, is not counted.
    """
    known = DEFAULTS.get(run.method, {})
    return [n for n, value in _own(run).items() if n in known and not _same(value, known[n])]


def labels(runs: Sequence[Run]) -> list[str]:
    """A label for each of `runs`, no two of which have the same configuration, seeds aside.

    The method comes first, then its own settings that differ from its defaults. Then, where the
    runs differ in it, what is not the most frequent value among them: the VAE of those that use
    one, the network, the length of training and the other fields of `words.SHARED`. Labels that
    are still the same are told apart by the fields in which their runs differ, or numbered.
    """
    shared = [_shared(run) for run in runs]
    common = {name: usual([s[name] for s in shared if name in s]) for name in SHARED}
    parts = []
    for run, found, vae in zip(runs, shared, vae_names(runs), strict=True):
        changed = changed_settings(run)
        own = [method_words(n, v) for n, v in _own(run).items() if n in changed or n in ALWAYS]
        varied = {name for name in SHARED if len({s.get(name) for s in shared}) > 1}
        rest = [
            field_words(name, json.loads(found[name]))
            for name in SHARED
            if name in varied and name in found and found[name] != common[name]
        ]
        if len(rest) > MOST_SHARED:
            rest = [*rest[:MOST_SHARED], f"{len(rest) - MOST_SHARED} more"]
        parts.append([run.method, *own, *([vae] if vae else []), *rest])
    return _told_apart(runs, [SEPARATOR.join(words) for words in parts])


def _own(run: Run) -> dict[str, Any]:
    prefix = f"methods.{run.method}."
    return {n.removeprefix(prefix): v for n, v in run.config.items() if n.startswith(prefix)}


def _shared(run: Run) -> dict[str, str]:
    """The fields of `SHARED` that the run has, as JSON; its epochs are those it ended with."""
    found = {name: run.config[name] for name in SHARED if name in run.config}
    ended = run.summary.get("epochs")
    if ended not in (None, ""):
        found["epochs"] = ended
    numbers = {n: float(v) if isinstance(v, int) and v is not True else v for n, v in found.items()}
    return {name: json.dumps(value) for name, value in numbers.items()}


def _same(value: Any, default: Any) -> bool:
    if isinstance(default, float) and isinstance(value, (int, float)):
        return abs(value - default) <= 1e-9
    return json.dumps(value) == json.dumps(default)


def _told_apart(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """`names` with what is needed for no two to be the same."""
    apart = list(names)
    for name in dict.fromkeys(names):
        places = [place for place, other in enumerate(names) if other == name]
        if len(places) < 2:
            continue
        configs = [runs[place].config for place in places]
        fields = [n for n in differing_fields(configs) if n not in NOT_SETTINGS]
        for number, (place, config) in enumerate(zip(places, configs, strict=True), start=1):
            words = [_words(runs[place], config, field) for field in fields if field in config]
            if len(fields) > MOST_SHARED or not words:
                words = [f"#{number}"]
            apart[place] = SEPARATOR.join([name, *words])
    return apart if len(set(apart)) == len(apart) else _numbered(apart)


def _words(run: Run, config: Mapping[str, Any], name: str) -> str:
    prefix = f"methods.{run.method}."
    if name.startswith(prefix):
        return method_words(name.removeprefix(prefix), config[name])
    return field_words(name, config[name])


def _numbered(names: Sequence[str]) -> list[str]:
    return [
        f"{name} #{names[:place].count(name) + 1}" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]
