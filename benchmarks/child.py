"""Starts and times pieces that need a separate process, and reads their results as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def run_child(
    module: str, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 600
) -> dict[str, Any]:
    """Runs `python -m benchmarks.MODULE ARGUMENTS` and returns the content of its last line.

    Args:
      module: of this package; the last line of its output is a JSON object.
      *arguments: of the command.
      env: added to the environment.
      timeout: seconds.

    Returns:
      The object, with `wall`, the seconds from start to end of the process.

    Raises:
      RuntimeError: the process failed; the message is the last line of its standard error.
    """
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    wall = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1]) | {"wall": wall}
