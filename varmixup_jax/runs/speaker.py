"""Terminal output of a run besides its log."""

from __future__ import annotations

from collections.abc import Callable

from ml_collections import ConfigDict
from rich.console import Console

from varmixup_jax import cluster


def speaker(config: ConfigDict) -> Callable[[str], None]:
    """Prints a line on standard error: the lead process does, unless `config.quiet`."""
    console = Console(stderr=True, quiet=config.quiet or not cluster.is_lead())

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return say
