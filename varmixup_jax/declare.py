"""Declares sections of the configuration: frozen dataclasses whose fields carry their own rules.

A field has two forms. In the `ConfigDict` of recipes and the command line it always has a value; in the
frozen section the value that stands for "none" becomes None.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, cast

from varmixup_jax import checks

Rule = Callable[..., None]
"""`rule(**{name: value})` raises a ValueError of one line that names the field."""

T = TypeVar("T")


class Field(NamedTuple):
    """One field of the configuration.

    Attributes:
      default: its value, whose type the field keeps.
      meaning: what it does, its unit, and what a special value stands for.
      rules: what values are allowed.
      used_if: a field of the same section; if it is 0, this field is not used and its rules do not
        apply. "" if they always apply.
      none: the value that stands for None; None if there is no such value.
    """

    default: Any
    meaning: str
    rules: tuple[Rule, ...] = ()
    used_if: str = ""
    none: Any = None


def setting(default: T, meaning: str, *rules: Rule, used_if: str = "") -> T:
    """A field that always has a value."""
    return _declare(Field(default, meaning, rules, used_if))


def optional(default: T, meaning: str, *rules: Rule, none: Any = None) -> T | None:
    """A field that may be None, represented by `none`: by default the default itself."""
    return _declare(Field(default, meaning, rules, none=default if none is None else none))


def declared(kind: type, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """The dotted names and the fields of a section, including those of its subsections."""
    for entry in dataclasses.fields(kind):
        name = f"{prefix}{entry.name}"
        if dataclasses.is_dataclass(entry.default):
            yield from declared(type(entry.default), f"{name}.")
        elif "field" in entry.metadata:
            field = entry.metadata["field"]
            used_if = field.used_if and f"{prefix}{field.used_if}"
            yield name, field._replace(used_if=used_if)


def frozen(kind: type[T], values: Mapping[str, Any]) -> T:
    """A section made from nested mappings that have been checked."""
    own: dict[str, Any] = {}
    for entry in dataclasses.fields(cast(Any, kind)):
        value, field = values[entry.name], entry.metadata.get("field")
        if dataclasses.is_dataclass(entry.default):
            value = frozen(type(entry.default), value)
        elif field is None:
            value = MappingProxyType({k: MappingProxyType(dict(v)) for k, v in value.items()})
        elif field.none is not None and value == field.none:
            value = None
        own[entry.name] = tuple(value) if isinstance(value, list) else value
    return kind(**own)


def plain(section: Any) -> dict[str, Any]:
    """The inverse of `frozen`: nested dicts, as in a `ConfigDict` and in a run's `config.json`."""
    nested: dict[str, Any] = {}
    for entry in dataclasses.fields(section):
        value, field = getattr(section, entry.name), entry.metadata.get("field")
        if dataclasses.is_dataclass(value):
            value = plain(value)
        elif field is None:
            value = {name: dict(settings) for name, settings in value.items()}
        nested[entry.name] = field.none if value is None and field else value
    return nested


def _declare(field: Field) -> Any:
    default = None if field.none is not None and field.default == field.none else field.default
    return dataclasses.field(default=default, metadata={"field": field})


at_least_0, at_least_1 = (partial(checks.whole, least) for least in (0, 1))
fraction = partial(checks.in_range, 0.0, 0.999999)
length = partial(checks.in_range, 0.0, 1e6)


def choice(*allowed: Any) -> Rule:
    """The value is one of these."""
    return partial(checks.one_of, allowed)


def each_positive(**radii: Iterable[float]) -> None:
    """Every entry is > 0."""
    for name, values in radii.items():
        for value in values:
            checks.positive(**{name: value})


def distinct_seeds(**fields: tuple[int, ...]) -> None:
    """Whole numbers >= 0, at least one, without repeats."""
    for name, values in fields.items():
        if not values or min(values) < 0:
            text = "must be whole numbers >= 0, at least one"
            raise ValueError(f"{name} = {values}: {text}")
        if len(set(values)) != len(values):
            raise ValueError(f"{name} = {values}: must be distinct")
