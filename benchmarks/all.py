"""The tables of `docs/benchmarks.md`, one process after another; existing results are not repeated.

    python -m benchmarks.all --out DIR [--only NAME ...]
    python -m benchmarks.tables DIR --into docs/benchmarks.md

Each piece writes DIR/NAME.json when it has finished, so an interrupted run resumes where it
stopped. Run nothing else meanwhile: PyTorch's threads wait for each other at every operation, and a
second busy process slows them down many times more than ours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from varmixup_jax import checks

ROOT = Path(__file__).resolve().parents[1]
PIECES = {
    "train_step_r8": "train_step --nets r8",
    "train_step_r18": "train_step --nets r18 --methods erm varmixup at",
    "attack": "attack --nets r8",
    **{
        name: name
        for name in ("vae_step", "mmd_forms", "crop_flip", "loop", "startup", "memory", "scaling")
    },
}


def main(argv: list[str] | None = None) -> int:
    """Runs what is missing; returns how many pieces failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument("--only", nargs="*", default=list(PIECES), help="names of pieces")
    parser.add_argument("--small", action="store_true", help="miniature sizes, to try the script")
    args = parser.parse_args(argv)
    for name in args.only:
        checks.one_of(PIECES, only=name)
    failed = 0
    for name in args.only:
        path = args.out / f"{name}.json"
        if path.exists():
            continue
        print(f"== {name}", flush=True)
        part = args.out.resolve() / f"{name}.running.json"
        words = PIECES[name].split() + (["--small"] if args.small else [])
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:], "--out", str(part)],
            cwd=ROOT,
            check=False,
        )
        if done.returncode == 0 and part.exists():
            part.replace(path)
        failed += done.returncode != 0
        print(f"   {time.monotonic() - start:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
