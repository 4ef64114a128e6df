"""The fields of a configuration: which are settings, in which several differ, what is usual."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

# Fields in which the runs of one group may differ: the seed, places, what is printed or kept, and
# what a page compares with.
NOT_SETTINGS = frozenset(
    {"seed", "seeds", "quiet", "data.dir", "vae.store", "eval.baseline", "eval.save_logits"}
)


def identity(config: Mapping[str, Any]) -> str:
    """A text that two configurations share if and only if they have the same settings."""
    settings = {name: value for name, value in config.items() if name not in NOT_SETTINGS}
    return json.dumps(settings, sort_keys=True)


def differing_fields(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields that are not the same in all of `configs`, in the order of their appearance."""
    names = dict.fromkeys(name for config in configs for name in config)
    return [n for n in names if len({field_text(config, n) for config in configs}) > 1]


def field_text(config: Mapping[str, Any], name: str) -> str:
    """The value of a configuration's field as JSON, strings bare; an absent one as an en dash."""
    value = config.get(name, "–")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def usual(values: Sequence[str]) -> str | None:
    """The value that occurs more often than every other; None where two share that or none is.

    >>> usual(["a", "b", "a"]), usual(["a", "b"])
    ('a', None)
    """
    counts = Counter(values).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]
