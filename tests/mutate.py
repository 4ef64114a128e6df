"""Puts the faults of `tests/mutants.toml` into copies of the tree, one at a time, and runs the tests.

    python -m tests.mutate [--jobs N] [--since REV] [--budget SECONDS] [--limit SECONDS] [NAME ...]

A mutant is killed when one of its tests fails. The same tests are run once without it first: where
they do not pass, nothing can be said, and the mutant is invalid. The working tree is never changed.
Exit codes: 0 all that ran were killed, 1 some survived, 2 some (or the command) are invalid.
"""

import argparse
import fnmatch
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.mutant_runs import (
    INVALID,
    KILLED,
    NOT_RUN,
    SKIPPED,
    SURVIVED,
    TIMED_OUT,
    Runner,
    Verdict,
)
from tests.mutants import FILE, Mutant, parse

ROOT = Path(__file__).resolve().parents[1]


def named(mutants: Sequence[Mutant], patterns: Sequence[str]) -> list[Mutant]:
    """Those whose name is, or matches, one of the patterns; all if there are none.

    Raises:
      ValueError: a pattern that matches none.
    """
    for pattern in patterns:
        if not fnmatch.filter([mutant.name for mutant in mutants], pattern):
            raise ValueError(f"no mutant in {FILE} is called {pattern}")
    return [m for m in mutants if not patterns or any(fnmatch.fnmatch(m.name, p) for p in patterns)]


def touched(mutants: Sequence[Mutant], root: Path, revision: str) -> list[Mutant]:
    """Those whose file, entry or tests are not what they were; in this order, as time may run out.

    Raises:
      ValueError: git does not know the revision.
    """
    names = git(root, "diff", "--name-only", "-z", revision)
    new = git(root, "ls-files", "--others", "--exclude-standard", "-z")
    changed = set((names + new).split("\0"))
    listed = git(root, "ls-tree", "--name-only", revision, FILE)
    before = parse(git(root, "show", f"{revision}:{FILE}")) if listed else []

    def reason(mutant: Mutant) -> int | None:
        if mutant.file in changed:
            return 0
        if mutant not in before:
            return 1
        return 2 if changed & {test.split("::")[0] for test in mutant.tests} else None

    found = [(why, mutant) for mutant in mutants if (why := reason(mutant)) is not None]
    return [mutant for _, mutant in sorted(found, key=lambda pair: pair[0])]


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"git {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def judge_all(
    mutants: Sequence[Mutant], root: Path, *, jobs: int, limit: float, budget: float | None
) -> list[Verdict]:
    """Judges mutants `jobs` at a time, printing a line each; starts none when the budget is spent."""
    began, verdicts = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="mutants-") as work:
        runner = Runner(mutants, root, Path(work), copies=jobs, limit=limit)

        def judge(mutant: Mutant) -> Verdict:
            if budget is not None and time.monotonic() - began >= budget:
                return Verdict(mutant, NOT_RUN, "the time was spent", 0.0)
            return runner.judge(mutant)

        with ThreadPoolExecutor(jobs) as pool:
            try:
                for done in as_completed([pool.submit(judge, mutant) for mutant in mutants]):
                    verdict = done.result()
                    verdicts.append(verdict)
                    if verdict.outcome == NOT_RUN:
                        continue  # the summary names them
                    place = f"[{len(verdicts)}/{len(mutants)}]"
                    print(
                        f"{place} {verdict.outcome}: {verdict.mutant.name}, {verdict.detail}"
                        f" ({verdict.seconds:.0f} s)",
                        flush=True,
                    )
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                runner.end()
                raise
    return verdicts


def summarize(verdicts: Sequence[Verdict], seconds: float) -> int:
    """Prints how many mutants had which outcome and names the others; returns the exit code."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    parts = [f"{counts[o]} {o}" for o in (KILLED, TIMED_OUT, SURVIVED, INVALID, SKIPPED, NOT_RUN)
             if counts[o]]  # fmt: skip
    print(f"{len(verdicts)} mutants in {seconds:.0f} s: {', '.join(parts) or 'none to run'}")
    for outcome in (SURVIVED, INVALID, SKIPPED, NOT_RUN):
        for mutant, _, detail, _ in (v for v in verdicts if v.outcome == outcome):
            print(f"  {outcome}: {mutant.name} ({mutant.file}), {detail.splitlines()[0]}")
    return 2 if counts[INVALID] else 1 if counts[SURVIVED] else 0


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutate", description=__doc__.split("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of mutants, or patterns: 'vae-*'")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument(
        "--since", metavar="REV", help="those with file, entry or tests changed since"
    )
    parser.add_argument("--budget", type=float, help="seconds after which none is started")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for a mutant's tests")
    options = parser.parse_args(argv)
    if options.jobs < 1:
        parser.error(f"--jobs = {options.jobs}: must be a whole number >= 1")
    try:
        mutants = named(parse((root / FILE).read_text(encoding="utf-8")), options.names)
        if options.since:
            mutants = touched(mutants, root, options.since)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    began = time.monotonic()
    verdicts = judge_all(
        mutants, root, jobs=options.jobs, limit=options.limit, budget=options.budget
    )
    return summarize(verdicts, time.monotonic() - began)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through what cleans up
    sys.exit(main())
