"""Runs the tests of mutants, each in a copy of the tree with one fault put into it and taken out."""

import contextlib
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutants import Mutant, mutated

KILLED, TIMED_OUT, SURVIVED = "killed", "killed (timed out)", "SURVIVED"
INVALID, SKIPPED, NOT_RUN = "INVALID", "not judged", "not run"
PASSED, FAILED = 0, 1  # exit codes of pytest; the others are no verdict


class Verdict(NamedTuple):
    """What became of a mutant, why, and in how many seconds."""

    mutant: Mutant
    outcome: str
    detail: str
    seconds: float


class Runner:
    """Judges mutants in copies of a tree; several threads may ask at a time.

    Args:
      mutants: those that will be asked for.
      root: of the tree, in a git repository.
      work: an empty directory for the copies and for compiled programs.
      copies: how many mutants can be judged at a time.
      limit: seconds that the tests of one mutant may take.
    """

    def __init__(
        self, mutants: Sequence[Mutant], root: Path, work: Path, *, copies: int, limit: float
    ):
        self.limit = limit
        self._free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(copies):
            copy_tree(root, work / f"tree{number}")
            self._free.put(work / f"tree{number}")
        self._compiled = work / "xla"
        self._running: set[subprocess.Popen] = set()
        self._named = sorted({test for mutant in mutants for test in mutant.tests})
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._without: dict[str, tuple[str, list[tuple[str, str]]]] = {}
        self._serial = 0

    def judge(self, mutant: Mutant) -> Verdict:
        """Runs the mutant's tests without it, if nobody did yet, and with it."""
        began = time.monotonic()
        outcome, detail = self._sound(mutant.tests)
        if not outcome:
            outcome, detail = self._faulty(mutant)
        return Verdict(mutant, outcome, detail, time.monotonic() - began)

    def end(self) -> None:
        """Kills what is still running."""
        for process in tuple(self._running):
            _kill(process)

    @contextlib.contextmanager
    def _tree(self):
        tree = self._free.get()
        try:
            yield tree
        finally:
            self._free.put(tree)

    def _sound(self, tests: tuple[str, ...]) -> tuple[str, str]:
        """What follows for mutants if these tests do not pass on the tree as it is; else nothing."""
        passed = False
        for test in tests:
            file = test.split("::")[0]
            with self._locks[file]:  # all that any mutant names of a file run at once
                if file not in self._without:
                    self._without[file] = self._outcomes(file)
            output, outcomes = self._without[file]
            found = {
                how for name, how in outcomes if f"{name}[".startswith((f"{test}[", f"{test}::"))
            }
            if not found or found & {"FAILED", "ERROR"}:
                return INVALID, f"without it, {test} does not pass:\n{output[-2000:]}"
            passed = passed or "PASSED" in found
        return ("", "") if passed else (SKIPPED, "all of its tests are skipped here")

    def _outcomes(self, file: str) -> tuple[str, list[tuple[str, str]]]:
        """The output, and the outcome of each named test of a file on the tree as it is."""
        wanted = [test for test in self._named if test.split("::")[0] == file]
        with self._tree() as tree:
            _, output = self._pytest(tree, wanted, "-v", "--no-header")
        return output, re.findall(r"^(\S.*?) (PASSED|FAILED|ERROR|SKIPPED)\b", output, re.MULTILINE)

    def _faulty(self, mutant: Mutant) -> tuple[str, str]:
        with self._tree() as tree:
            try:
                text = mutated(mutant, tree)
            except (ValueError, OSError) as error:
                return INVALID, str(error)
            with self._written(tree / mutant.file, text):
                code, output = self._pytest(tree, mutant.tests, "-q", "-x")
        if code is None:
            return TIMED_OUT, f"after {self.limit:g} s"
        if code == PASSED:
            return SURVIVED, f"it would break: {mutant.breaks}"
        if code != FAILED:
            return INVALID, f"with it, pytest ends with {code}:\n{output[-2000:]}"
        by = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
        return KILLED, f"by {by[1]}" if by else ""

    @contextlib.contextmanager
    def _written(self, path: Path, text: str):
        before, stat = path.read_bytes(), path.stat()
        path.write_text(text, encoding="utf-8")
        # Python takes a cached program for current where the whole second and the size agree.
        self._serial += 1
        os.utime(path, (stat.st_atime, stat.st_mtime + self._serial))
        try:
            yield
        finally:
            path.write_bytes(before)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def _pytest(self, tree: Path, tests: Sequence[str], *options: str) -> tuple[int | None, str]:
        """The exit code, None after the time limit, and the output."""
        words = ["-m", "pytest", *options, "-n0", "-p", "no:cacheprovider", *tests]
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=tree,
            env=environment(tree, self._compiled),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # so that what the tests started ends with them
        )
        self._running.add(process)
        try:
            output, _ = process.communicate(timeout=self.limit)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            _kill(process)
            process.communicate()
            self._running.discard(process)


def copy_tree(root: Path, to: Path) -> None:
    """Copies what git tracks, and what is new and not ignored, as it is in the working tree."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=root, capture_output=True, check=True).stdout
    for name in sorted(filter(None, listed.decode().split("\0"))):
        if (root / name).is_file() or (root / name).is_symlink():  # a tracked file may be gone
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, to / name, follow_symlinks=False)


def environment(tree: Path, compiled: Path) -> dict[str, str]:
    """For tests in a copy: its own package comes first, and compiled programs are shared.

    A program is found again by its text, so a mutant's cannot be taken for another's.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    return {
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        **inherited,
        "PYTHONPATH": os.pathsep.join([str(tree), *filter(None, [inherited.get("PYTHONPATH")])]),
    }


def _kill(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
