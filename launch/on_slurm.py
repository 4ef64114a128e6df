"""Runs of a sweep as one SLURM job array, using submitit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .plan import Job

SAVE_SECONDS = 120  # from SIGTERM to the end of the time limit
FIRST_POLL_SECONDS = 1.0
SAVED = 143  # exit code of a run that was ended by SIGTERM and can be resumed


def run(
    jobs: Sequence[Job],
    parallel: int,
    settings: Mapping[str, Any],
    say: Callable[[str], None],
    poll_seconds: float = 15.0,
) -> None:
    """Submits every job that is not queued yet, and waits until none is left in the queue.

    Submitted jobs are recorded in `logs/jobs.json`: if this process is interrupted and restarted, it
    waits for those.

    Args:
      jobs: what to run.
      parallel: the maximum number at a time.
      settings: options of sbatch, `{"partition": "long", "gpus-per-node": 1}`.
      say: prints a line.
      poll_seconds: the longest time between two queries of the queue.

    Raises:
      ValueError: submitit or SLURM is missing, or SLURM refuses the jobs.
    """
    if not shutil.which("sbatch"):
        raise ValueError("--on = 'slurm': there is no sbatch here, must be on a SLURM cluster")
    logs = jobs[0].log.parent
    logs.mkdir(parents=True, exist_ok=True)
    record = logs / "jobs.json"
    ids = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    queued = _queued() or set()
    new = [job for job in jobs if ids.get(job.name) not in queued]
    if new:
        ids |= _submit(new, parallel, settings, logs / "submitit")
        record.write_text(json.dumps(ids, indent=1) + "\n", encoding="utf-8")
    for job in jobs:
        say(f"{job.name}: SLURM job {ids[job.name]}, log in {job.log}")
    waiting = {ids[job.name]: job.name for job in jobs}
    wait = min(FIRST_POLL_SECONDS, poll_seconds)
    while waiting:
        time.sleep(wait)
        wait = min(2 * wait, poll_seconds)
        still = _queued()
        if still is None:  # the controller is busy or restarting: try again
            continue
        for number in sorted(waiting.keys() - still):
            say(f"{waiting.pop(number)}: left the queue")


class Task(NamedTuple):
    """What a job of the array does: one run, inside the job's process, so that signals reach it.

    Attributes:
      arguments: of `varmixup_jax.main`.
      log: where it prints.
    """

    arguments: tuple[str, ...]
    log: Path

    def __call__(self) -> None:
        """Runs; requeues the job if the time limit or a preemption ended it."""
        number = os.environ["SLURM_JOB_ID"]
        for name in [name for name in os.environ if name.startswith("SLURM_")]:
            del os.environ[name]  # so that the run is a single process, which uses all its GPUs
        with _printing_into(self.log):
            from varmixup_jax.main import main  # JAX, only now

            sys.argv[1:] = self.arguments  # a run records its command
            code = main()
        if code == SAVED and _output(["squeue", "-h", "-j", number, "-o", "%T"]) == "RUNNING":
            subprocess.run(["scontrol", "requeue", number], check=True)
        elif code:
            raise RuntimeError(f"exit code {code}, see {self.log}")


def _submit(
    jobs: Sequence[Job], parallel: int, settings: Mapping[str, Any], folder: Path
) -> dict[str, str]:
    """The SLURM job id of each job, by name."""
    try:
        import submitit  # not needed for anything else
    except ImportError:
        text = "submitit is missing: pip install 'varmixup_jax[launch]'"
        raise ValueError(f"--on = 'slurm': {text}") from None
    executor = submitit.SlurmExecutor(folder, python=sys.executable)
    executor.update_parameters(
        job_name="varmixup",
        array_parallelism=parallel,
        stderr_to_stdout=True,
        setup=['export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"'],
        # By default submitit requests another signal; main handles SIGTERM.
        additional_parameters={"signal": f"TERM@{SAVE_SECONDS}", "requeue": True, **settings},
    )
    tasks = [Task(job.words[3:], job.log.absolute()) for job in jobs]
    submitted: list[submitit.Job[None]] = []
    submit: Callable[..., Any] = executor.submit  # versions differ on whether a `Task` is callable
    try:
        with executor.batch():
            for task in tasks:
                submitted.append(submit(task))
    except submitit.core.utils.FailedJobError as error:
        text = " ".join(str(error).split())
        raise ValueError(f"--on = 'slurm': sbatch refused the jobs: {text}") from None
    return {job.name: entry.job_id for job, entry in zip(jobs, submitted, strict=True)}


def _queued() -> set[str] | None:
    """The ids of the user's jobs that have not ended; None if SLURM does not answer."""
    done = subprocess.run(
        ["squeue", "--noheader", "--array", "--me", "--format=%i"],
        capture_output=True,
        text=True,
        check=False,
    )
    return set(done.stdout.split()) if done.returncode == 0 else None


def _output(words: Sequence[str]) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


@contextmanager
def _printing_into(log: Path) -> Iterator[None]:
    """Inside the block, the output of this process and its children is appended to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
