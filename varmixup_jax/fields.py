"""The configuration of a run, `Config`, and the list of all its fields.

`varmixup fields [PREFIX]` prints them. Recipes and the command line change them as a `ConfigDict`
(`config.base_config`); `config.freeze` checks it once and makes a `Config` of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import operator
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from varmixup_jax import checks
from varmixup_jax.declare import (
    Field,
    at_least_1,
    choice,
    declared,
    distinct_seeds,
    fraction,
    length,
    optional,
    setting,
)
from varmixup_jax.methods import METHODS
from varmixup_jax.sections import (
    CheckpointsConfig,
    DataConfig,
    EvalConfig,
    ModelConfig,
    OptimConfig,
    ParallelConfig,
    VaeConfig,
)
from varmixup_jax.vicinal.objective import ATTACK_BN

ALL = "all"

DESCRIPTION = """Lists the fields of the configuration: name = default, unit and meaning.

examples:
  varmixup fields eval
  varmixup fields optim. methods.varmixup"""


def _methods(**words: str) -> None:
    for field, value in words.items():
        names = [name.strip() for name in value.split(",")]
        for name in names:
            checks.one_of([*METHODS, ALL] if len(names) == 1 else METHODS, **{field: name})


@dataclass(frozen=True)
class Config:
    """The configuration of a run, checked and frozen; `config.freeze` makes one."""

    method: str = setting(
        "varmixup",
        'a method, several separated by commas, or "all": the nine of the paper',
        _methods,
    )
    seeds: tuple[int, ...] = setting(
        (0,), "one run per method and seed: initialisation, data order, draws", distinct_seeds
    )
    quiet: bool = setting(False, "print nothing but the closing table")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    epochs: float = setting(30.0, "length of training", checks.positive, length)
    attack_epochs: float | None = optional(
        0.0,
        "the same for methods registered with attacks=True; 0: `epochs`",
        checks.non_negative,
        length,
    )
    batch_size: int = setting(128, "examples a step, over all devices", at_least_1)
    ema_decay: float = setting(
        0.0, "of the average of parameters and statistics that is evaluated; 0: none", fraction
    )
    attack_bn: str = setting(
        "running",
        "BatchNorm of the model under attack: running | batch statistics",
        choice(*ATTACK_BN),
    )
    optim: OptimConfig = OptimConfig()
    vae: VaeConfig = VaeConfig()
    eval: EvalConfig = EvalConfig()
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    parallel: ParallelConfig = ParallelConfig()
    methods: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """The settings of each method, with the defaults it was registered with."""


FIELDS: Mapping[str, Field] = dict(declared(Config))


def value_of(config: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name in nested mappings."""
    return reduce(operator.getitem, name.split("."), config)


def check(config: Mapping[str, Any], prefix: str = "") -> None:
    """Applies the rules of every field whose name starts with `prefix`.

    Args:
      config: nested, with at least these fields, of their types.
      prefix: of dotted names.

    Raises:
      ValueError: one line that names the field, its value and what is allowed.
    """
    for name, field in FIELDS.items():
        if not name.startswith(prefix) or (field.used_if and not value_of(config, field.used_if)):
            continue
        for rule in field.rules:
            rule(**{f"config.{name}": value_of(config, name)})


def lines(prefix: str = "") -> Iterator[str]:
    """One line per field whose name starts with `prefix`, including the settings of methods.

    >>> next(lines("vae.gamma"))
    'vae.gamma = 0.01    weight of MMD^2 against the mean squared error per pixel'
    """
    for name, field in FIELDS.items():
        if name.startswith(prefix):
            yield f"{name} = {field.default!r}    {field.meaning}"
    for method, entry in METHODS.items():
        for own, default in entry.settings.items():
            name = f"methods.{method}.{own}"
            if name.startswith(prefix):
                yield f"{name} = {default!r}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="varmixup fields",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prefixes", metavar="PREFIX", nargs="*", help="of names; none: all fields")
    prefixes = parser.parse_args(arguments).prefixes or [""]
    found = [line for prefix in prefixes for line in lines(prefix)]
    if not found:
        print(f"error: {' '.join(prefixes)}: no field starts with this", file=sys.stderr)
        return 2
    print("\n".join(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
