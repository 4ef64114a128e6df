"""Terminal output of a run besides its log."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from varmixup_jax import cluster

Say = Callable[[str], None]
"""Prints a line."""


def speaker(quiet: bool) -> Say:
    """Prints a line on standard error: the lead process does, unless `quiet`."""
    console = Console(stderr=True, quiet=quiet or not cluster.is_lead())

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return say
