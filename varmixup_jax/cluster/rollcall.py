"""A roll call among the processes of a run: one that does not answer is named, and the others end.

A thread of each process answers, so a process is present whatever its main thread is waiting for: one
that hangs in a collective because another is lost is not mistaken for the lost one.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable

LOST = 5  # exit code
# For this process to end for a reason of its own, as the one that is missed may have. Not longer: where
# the lead is gone JAX, which notices too, aborts this process within a second.
GRACE_S = 0.05
LINGER_S = 1.0  # the lead stays for so long: the others hear from it who is missing
POLL_S = 0.05
GONE = "the lead cannot be reached"


class RollCall:
    """Runs until `close`; ends this process, with one line and exit code `LOST`, if one is lost.

    Args:
      answer: `(name, timeout_s)`: returns when every process has answered to that name. Raises
        `TimeoutError` with the numbers of those that did not, or another error where the lead,
        which counts the answers, cannot be reached.
      lead: whether this is that process, number 0.
      processes: how many there are.
      within_s: a lost process is named by then, > 0.
      reachable: whether the lead can be reached, by another way than `answer`; may say yes wrongly.
    """

    def __init__(
        self,
        answer: Callable[[str, float], None],
        *,
        lead: bool,
        processes: int,
        within_s: float,
        reachable: Callable[[], bool] = lambda: True,
    ):
        self._answer, self._lead, self._reachable = answer, lead, reachable
        self._processes, self._within_s = processes, within_s
        self._answered, self._heard = 0, time.monotonic()
        self._closing, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="roll call", daemon=True)
        self._thread.start()
        if not lead:
            threading.Thread(target=self._listen, name="roll call, listening", daemon=True).start()

    def close(self) -> None:
        """From here on a missing answer is not an error: this process is ending.

        It still answers, for those that go on.
        """
        self._closing.set()

    def join(self) -> None:
        """Ends the thread, whose answer must have been called off; waits `within_s` at most."""
        self._over.set()
        self._thread.join(self._within_s)

    def settle(self) -> None:
        """Returns when all have answered to a call made after this one; else does not return."""
        # Where the lead is gone JAX's thread that would bring the answer may be aborting already.
        if not self._lead and not self._reachable():
            self._end("0", GONE)
        target = self._answered + 2  # the one that is under way may have been answered before
        until = time.monotonic() + 2 * self._within_s
        while self._thread.is_alive() and self._answered < target and time.monotonic() < until:
            time.sleep(POLL_S)

    def _watch(self) -> None:
        # The lead sets the pace; the others are always waiting for it. One that dies in its wait has
        # answered that call already, and is missed in the next: a pause, a pause, and the timeout.
        pause, timeout = self._within_s / 4, self._within_s / 2
        for number in itertools.count():
            if self._lead and self._over.wait(pause):
                return
            try:
                self._answer(f"roll call {number}", timeout if self._lead else pause + timeout)
            except TimeoutError as error:
                self._end(str(error), f"no answer within {self._within_s:g} s")
                return
            except Exception:  # the kind depends on JAX's version
                if not self._lead:
                    self._end("0", GONE)
                return
            self._answered += 1
            self._heard = time.monotonic()

    def _listen(self) -> None:
        # Where the lead falls silent and its connections stay open, an answer may never end.
        while self._thread.is_alive() and not self._over.wait(self._within_s / 8):
            if time.monotonic() - self._heard > self._within_s:
                return self._end("0", f"no answer within {self._within_s:g} s")

    def _end(self, who: str, why: str) -> None:
        if self._closing.wait(GRACE_S):
            return
        several = "," in who
        text = f"process{'es' * several} {who} of {self._processes} {'were' if several else 'was'}"
        print(f"error: {text} lost ({why}); the same command resumes", file=sys.stderr, flush=True)
        if self._lead:
            time.sleep(LINGER_S)
        os._exit(LOST)
