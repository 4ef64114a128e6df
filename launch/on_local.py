"""Runs of a sweep on this machine, a few at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from .devices import share, visible_gpus
from .plan import Job
from .run_logs import last_lines

POLL_SECONDS = 0.2
STATUS_SECONDS = 10.0  # between two status lines of each active run
SAVE_SECONDS = 120.0  # from SIGTERM to SIGKILL


class Outcome(NamedTuple):
    """How the runs ended.

    Attributes:
      codes: exit code, as in a shell, of each run that was started, by name.
      stopped: what ended the sweep early, "" if nothing did.
    """

    codes: dict[str, int]
    stopped: str


class Active(NamedTuple):
    """An active run, and when it began."""

    job: Job
    process: subprocess.Popen[bytes]
    began: float


def run(
    jobs: Sequence[Job],
    parallel: int,
    say: Callable[[str], None],
    budget: float | None = None,
) -> Outcome:
    """Runs every job, `parallel` at a time, in order; each prints to its own log.

    The last line of each active run's log is shown every ten seconds. SIGTERM, Ctrl-C and the end of
    the budget reach the runs as SIGTERM, so that a run in training saves its state; then no run is
    started any more, and those that have not ended after two minutes are killed.

    Args:
      jobs: what to run.
      parallel: how many at a time; see `devices.share` for how they share GPUs.
      say: prints a line.
      budget: seconds until all runs are stopped; None for no limit.
    """
    gpus, waiting = visible_gpus(), list(jobs)
    running: dict[int, Active] = {}
    codes: dict[str, int] = {}
    began = spoke = time.monotonic()
    stopped, stopped_at = "", 0.0
    with _asked_to_stop() as asked:
        while running or (waiting and not stopped):
            now = time.monotonic()
            for slot, active in list(running.items()):
                if active.process.poll() is not None:
                    name = active.job.name
                    codes[name] = exit_code(active.process.returncode)
                    say(f"{name}: ended with code {codes[name]} after {now - active.began:.0f} s")
                    del running[slot]
            if not stopped:
                over = budget is not None and now - began >= budget
                stopped = "a signal" if asked() else f"the budget of {budget:g} s" if over else ""
                stopped_at = now
                for active in running.values() if stopped else ():
                    say(f"{active.job.name}: asked to stop, by {stopped}")
                    active.process.terminate()
            elif now - stopped_at >= SAVE_SECONDS:
                for active in running.values():
                    active.process.kill()
            while waiting and len(running) < parallel and not stopped:
                slot = next(i for i in range(parallel) if i not in running)
                job = waiting.pop(0)
                given = share(slot, parallel, gpus, os.environ)
                running[slot] = Active(job, _start(job, given), now)
                words = "".join(f" {name}={value}" for name, value in given.items())
                say(f"{job.name}: started{words}, log in {job.log}")
            if now - spoke >= STATUS_SECONDS:
                spoke = now
                for active in running.values():
                    line = "".join(last_lines(active.job.log, 1)) or "nothing printed yet"
                    say(f"{active.job.name} ({now - active.began:.0f} s): {line}")
            time.sleep(POLL_SECONDS)
    return Outcome(codes, stopped)


def exit_code(returncode: int) -> int:
    """The exit code that a shell would show: 128 + n for a process killed by signal n.

    >>> exit_code(3), exit_code(-9)
    (3, 137)
    """
    return returncode if returncode >= 0 else 128 - returncode


def _start(job: Job, given: dict[str, str]) -> subprocess.Popen[bytes]:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    # In its own session, so that Ctrl-C in the terminal reaches it only as one SIGTERM from here.
    with job.log.open("wb") as log:
        return subprocess.Popen(
            job.words,
            env={**os.environ, **given},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Inside the block SIGTERM and SIGINT are recorded; yields a function that tells if one came."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
