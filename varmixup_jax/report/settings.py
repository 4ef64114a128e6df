"""The fields of a configuration: which are settings, in which runs differ, and their short names.

`clean 0.5` for `methods.varmixup.clean_weight=0.5`: short enough for a chart.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from varmixup_jax.saved_config import NOT_SETTINGS

# `{}` is the value, `(s)` a plural; of a pair the first is for False. Methods' own fields are looked
# up by the last part of their names, the others by the full name; a row names the shared ones in
# this order.
_WORDS = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))
SHARED: Mapping[str, str] = _WORDS["shared"]
VAE: Mapping[str, str] = _WORDS["vae"]


def number(value: Any) -> str:
    """A value for printing: short numbers, lists with commas, strings as they are.

    >>> number(0.5), number([0, 1, 2]), number(8 / 255), number("mix_first")
    ('0.5', '0, 1, 2', '8/255', 'mix first')
    """
    if isinstance(value, (list, tuple)):
        return ", ".join(map(number, value))
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return str(value).replace("_", " ")
    text = f"{value:.6g}"
    parts = value * 255
    long = len(text) > 6 and abs(parts) < 255 and abs(parts - round(parts)) < 1e-6
    return f"{round(parts)}/255" if long else text


def field_words(name: str, value: Any) -> str:
    """A field of the configuration in words, by its full name; VAE fields are not marked as such.

    >>> field_words("methods.augmix.views", 1), field_words("methods.mine.my_strength", 2.0)
    ('1 view', 'my strength 2')
    >>> field_words("batch_size", 512), field_words("vae.blocks", 1)
    ('batch 512', '1 block')
    """
    if name.startswith("methods."):
        name = name.split(".")[-1]
        template = _WORDS["methods"].get(name)
    else:
        template = SHARED.get(name, VAE.get(name))
    if template is None:
        return f"{name.replace('_', ' ').replace('.', ' ')} {number(value)}"
    if isinstance(template, list):
        return template[value is True]
    return template.replace("(s)", "" if value == 1 else "s").format(number(value))


def identity(config: Mapping[str, Any]) -> str:
    """A text that two configurations share if and only if they have the same settings."""
    settings = {name: value for name, value in config.items() if name not in NOT_SETTINGS}
    return json.dumps(settings, sort_keys=True)


def differing_fields(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields that are not the same in all of `configs`, in order of appearance."""
    names = dict.fromkeys(name for config in configs for name in config)
    return [n for n in names if len({field_text(config, n) for config in configs}) > 1]


def field_text(config: Mapping[str, Any], name: str) -> str:
    """The value of a configuration's field as JSON, strings unquoted; an en dash if absent."""
    value = config.get(name, "–")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def usual(values: Sequence[str]) -> str | None:
    """The value that occurs more often than any other; None if there is a tie or no value.

    >>> usual(["a", "b", "a"]), usual(["a", "b"])
    ('a', None)
    """
    counts = Counter(values).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]
