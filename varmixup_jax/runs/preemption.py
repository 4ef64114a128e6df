"""SIGTERM, the request of a scheduler to leave: at once, or after the state is saved."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from varmixup_jax.training.loop import Preempted


class Preemption:
    """Answers SIGTERM: raises `Preempted` where nothing would be lost, else remembers it.

    A second SIGTERM ends the process at once.
    """

    def __init__(self) -> None:
        self.asked = False
        self._deferred = False

    def install(self) -> None:
        """Takes over SIGTERM; from the main thread only."""
        signal.signal(signal.SIGTERM, self._answer)

    @contextmanager
    def deferred(self) -> Iterator[Callable[[], bool]]:
        """While inside, a SIGTERM is only remembered; yields the question whether one came."""
        self._deferred = True
        try:
            yield lambda: self.asked
        finally:
            self._deferred = False

    def _answer(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.asked = True
        signal.signal(number, signal.SIG_DFL)
        if not self._deferred:
            raise Preempted
