"""Status lines from a background thread while something takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Self

SAY_SECONDS = 10.0  # the longest time without output
TICK_SECONDS = 1.0


@contextmanager
def ticking(tick: Callable[[], None]) -> Iterator[None]:
    """Inside the block, `tick` is called every second from another thread."""
    over = threading.Event()

    def loop() -> None:
        while not over.wait(TICK_SECONDS):
            tick()

    thread = threading.Thread(target=loop, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Heartbeat(ExitStack):
    """A context manager that prints what is being done every ten seconds; nothing if it is quick.

    Call it with a text to set the current part of the work.

    Args:
      say: prints a line.
      doing: what is being done, "erm s0: evaluating".
      clock: seconds.

    >>> lines, now = [], iter([0.0, 2.0, 11.0, 12.0])
    >>> beat = Heartbeat(lines.append, "erm s0: evaluating", clock=lambda: next(now))
    >>> beat("fog 3")
    >>> for _ in range(3):  # at 2, 11 and 12 s
    ...     beat.tick()
    >>> lines
    ['erm s0: evaluating, fog 3 (11 s)']
    """

    def __init__(
        self,
        say: Callable[[str], None],
        doing: str,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__()
        self._say, self._doing, self._clock, self._part = say, doing, clock, ""
        self._began = self._said = clock()

    def __call__(self, part: str) -> None:
        self._part = f", {part}"

    def tick(self) -> None:
        """Prints the line if it is time."""
        now = self._clock()
        if now - self._said >= SAY_SECONDS:
            self._said = now
            self._say(f"{self._doing}{self._part} ({now - self._began:.0f} s)")

    def __enter__(self) -> Self:
        self.enter_context(ticking(self.tick))
        return self
