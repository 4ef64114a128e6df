"""The tables of `docs/benchmarks.md`, one process after the other; what is there is not repeated.

    python -m benchmarks.all --out DIR [--full] [--only NAME ...]
    python -m benchmarks.tables DIR --into docs/benchmarks.md

Each piece leaves DIR/NAME.json when it has finished, so an interrupted run resumes where it
stopped. Leave the machine alone meanwhile: PyTorch's threads wait for each other at every
operation, and a second busy process slows them down many times more than ours. `--full` adds the
remaining methods on ResNet-18 (some ten minutes more).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from varmixup_jax import checks

ROOT = Path(__file__).resolve().parents[1]
REST = "mixup manifold_mixup mixup_r adv_varmixup trades iat"
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "MALLOC_ARENA_MAX": "1",
}


class Piece(NamedTuple):
    """One command: the module with its options, its environment, and whether it is of `--full`."""

    command: str
    env: dict[str, str] = {}  # noqa: RUF012
    extra: bool = False


PIECES = {
    "train_step_r8": Piece("train_step --nets r8"),
    "train_step_r8_malloc": Piece("train_step --nets r8 --methods erm varmixup", MALLOC),
    "train_step_r18": Piece("train_step --nets r18 --methods erm varmixup at"),
    "train_step_r18_rest": Piece(f"train_step --nets r18 --methods {REST}", {}, True),
    "attack": Piece("attack --nets r8"),
    "vae_step": Piece("vae_step"),
    "mmd_forms": Piece("mmd_forms"),
    "crop_flip": Piece("crop_flip"),
    "loop": Piece("loop"),
    "startup": Piece("startup"),
    "memory": Piece("memory"),
    "scaling": Piece("scaling"),
}


def main(argv: list[str] | None = None) -> int:
    """Runs what is missing; returns how many pieces failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the JSON files")
    parser.add_argument("--full", action="store_true", help="the long pieces, too")
    parser.add_argument("--only", nargs="*", default=list(PIECES), help="names of pieces")
    parser.add_argument("--small", action="store_true", help="miniature sizes, to try the script")
    args = parser.parse_args(argv)
    for name in args.only:
        checks.one_of(PIECES, only=name)
    failed = 0
    for name in args.only:
        piece, path = PIECES[name], args.out / f"{name}.json"
        if path.exists() or (piece.extra and not args.full):
            continue
        print(f"== {name}", flush=True)
        part = args.out.resolve() / f"{name}.running.json"
        words = piece.command.split() + (["--small"] if args.small else [])
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:], "--out", str(part)],
            cwd=ROOT,
            env={**os.environ, **piece.env},
            check=False,
        )
        if done.returncode == 0 and part.exists():
            part.replace(path)
        failed += done.returncode != 0
        print(f"   {time.monotonic() - start:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
