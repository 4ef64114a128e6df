"""Stops on SIGTERM (a scheduler's request) and Ctrl-C: at once, or after the state is saved."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from varmixup_jax.training.loop import Preempted

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Preemption:
    """Handles both signals: raises `Preempted` where nothing would be lost, else records it.

    Python prints and drops exceptions raised inside a callback (JAX has one for the garbage
    collector), so the request is recorded in any case, for `check`. The same signal a second time
    ends the process at once.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._deferred = False

    def install(self) -> None:
        """Installs the signal handlers; from the main thread only.

        If SIGINT is ignored, as in background jobs of a shell, it stays ignored.
        """
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._answer)

    @contextmanager
    def deferred(self) -> Iterator[Callable[[], bool]]:
        """Inside the block a signal is only recorded; yields a function that tells if one came."""
        self._deferred = True
        try:
            yield lambda: self._asked is not None
        except Preempted as stopped:  # after that function said so, or due to another process
            stopped.signal = self._asked or stopped.signal
            raise
        finally:
            self._deferred = False

    def check(self) -> None:
        """Raises `Preempted` if a signal came, even if its own exception was dropped."""
        if self._asked is not None:
            raise Preempted(signal=self._asked)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)
        first, self._asked = self._asked is None, self._asked or number
        if first and not self._deferred:  # a second would interrupt the exit after the first
            raise Preempted(signal=number)


PREEMPTION = Preemption()
"""One per process, as signals are."""
