"""SIGTERM, a scheduler's request to leave, and Ctrl-C: at once, or after the state is saved."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from varmixup_jax.training.loop import Preempted

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Preemption:
    """Answers both signals: raises `Preempted` where nothing would be lost, else remembers it.

    What is raised inside a callback (JAX has one for the garbage collector) Python prints and drops,
    so the request is remembered in any case, until `check`. The same signal a second time ends the
    process at once.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._deferred = False

    def install(self) -> None:
        """Takes over the signals; from the main thread only.

        An ignored SIGINT, as a shell gives its background jobs, stays ignored.
        """
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._answer)

    @contextmanager
    def deferred(self) -> Iterator[Callable[[], bool]]:
        """While inside, a signal is only remembered; yields the question whether one came."""
        self._deferred = True
        try:
            yield lambda: self._asked is not None
        except Preempted as stopped:  # by that question, or by another process
            stopped.signal = self._asked or stopped.signal
            raise
        finally:
            self._deferred = False

    def check(self) -> None:
        """Raises `Preempted` where a signal came, whatever became of it then."""
        if self._asked is not None:
            raise Preempted(signal=self._asked)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)
        first, self._asked = self._asked is None, self._asked or number
        if first and not self._deferred:  # the second would break into what the first one ends
            raise Preempted(signal=number)


PREEMPTION = Preemption()
"""The one of this process, as signals are."""
