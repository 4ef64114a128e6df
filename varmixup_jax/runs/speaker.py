"""Terminal output of a run other than its log."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from varmixup_jax import cluster

Say = Callable[[str], None]
"""Prints a line."""


def speaker(quiet: bool) -> Say:
    """A function that prints a line on standard error, on the leader and unless `quiet`."""
    console = Console(stderr=True, quiet=quiet or not cluster.is_lead())

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return say
