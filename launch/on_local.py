"""Runs of a sweep on this machine, a few at a time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from launch.plan import Job

POLL_SECONDS = 0.2


def run(jobs: Sequence[Job], parallel: int, say: Callable[[str], None]) -> bool:
    """Runs every job, `parallel` at a time; each prints into its own log.

    On a machine with GPUs the runs at one time share them out evenly. SIGTERM and Ctrl-C are passed
    on as SIGTERM, so that what is training saves its state; nothing new is started then.

    Returns:
      Whether it went through; False after a signal.

    Raises:
      ValueError: more at a time than there are GPUs.
    """
    gpus = visible_gpus()
    if gpus and not parallel <= len(gpus):
        raise ValueError(f"--jobs = {parallel}: must be <= {len(gpus)}, the GPUs there are")
    waiting = list(jobs)
    running: dict[int, tuple[Job, subprocess.Popen[bytes]]] = {}
    with _asked_to_stop() as asked:
        told = False
        while running or (waiting and not asked()):
            while waiting and len(running) < parallel and not asked():
                slot = next(i for i in range(parallel) if i not in running)
                job = waiting.pop(0)
                say(f"{job.name}: started, log in {job.log}")
                running[slot] = job, _start(job, gpus[slot::parallel])
            for slot, (job, process) in list(running.items()):
                if process.poll() is not None:
                    say(f"{job.name}: ended with code {exit_code(process.returncode)}")
                    del running[slot]
            if asked() and not told:
                told = True
                for _, process in running.values():
                    process.send_signal(signal.SIGTERM)
            time.sleep(POLL_SECONDS)
        return not asked()


def exit_code(returncode: int) -> int:
    """The code a shell would show: 128 + n for a process that signal n ended.

    >>> exit_code(3), exit_code(-9)
    (3, 137)
    """
    return returncode if returncode >= 0 else 128 - returncode


def visible_gpus() -> list[str]:
    """NVIDIA GPUs that programs here may use, as `CUDA_VISIBLE_DEVICES` names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name.strip() and name != "-1"]
    if os.environ.get("JAX_PLATFORMS", "") == "cpu" or not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return [str(number) for number in range(count)]


def _start(job: Job, gpus: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    if gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    # A session of its own: Ctrl-C in the terminal reaches it as one SIGTERM, from here.
    with job.log.open("wb") as log:
        return subprocess.Popen(
            job.words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """While inside, SIGTERM and SIGINT are remembered; yields the question whether one came."""
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
