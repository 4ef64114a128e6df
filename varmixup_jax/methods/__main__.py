"""Lists the methods: `varmixup methods`."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from varmixup_jax.methods import METHODS, paper_methods
from varmixup_jax.types import Term
from varmixup_jax.vicinal import mixing

DESCRIPTION = """Lists the methods: what each does, and its terms, weight · vicinity · distance,
with the default settings.

examples:
  varmixup methods
  varmixup fields methods.varmixup    # the settings of one"""

SPACES = {getattr(mixing, name): name for name in ("pixels", "latents", "reconstructions")}


def described(term: Term) -> str:
    """`weight · vicinity · distance`.

    >>> from varmixup_jax.methods import build
    >>> [described(term) for term in build("iat")]
    ['0.5 · mix(pixels) · ce', '0.5 · chain(attack, mix(pixels)) · ce']
    """
    return f"{term.weight:g} · {_name(term.vicinity)} · {_name(term.distance)}"


def _name(function: Callable[..., Any]) -> str:
    """The name of a function, and those of its parts if it is a `partial`."""
    settings = getattr(function, "keywords", {})
    function = getattr(function, "func", function)
    name = getattr(function, "__name__", type(function).__name__).lstrip("_")
    parts = [_name(part) for part in settings.get("vicinities", ())]
    if "space" in settings:
        parts.append(SPACES.get(settings["space"]) or _name(settings["space"].into))
    return f"{name}({', '.join(parts)})" if parts else name


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="varmixup methods",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    paper = paper_methods()
    for title, names in {
        "From the paper (selected by `all`):": paper,
        "Beyond the paper:": [name for name in METHODS if name not in paper],
    }.items():
        print(title)
        for name in names:
            counts = Counter(described(term) for term in METHODS[name].build())
            terms = " + ".join(f"{n} × {term}" if n > 1 else term for term, n in counts.items())
            print(f"  {name:<17} {METHODS[name].summary}\n  {'':<17} {terms}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
