"""XLA's compile times, as reported by JAX."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compile_times() -> Iterator[list[tuple[str, float]]]:
    """Inside the block, fills a list with each program and the seconds to compile or load it."""
    found: list[tuple[str, float]] = []

    def heard(event: str, seconds: float, **about: Any) -> None:
        if event == COMPILED:
            found.append((str(about.get("fun_name", "a program")), seconds))

    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)
