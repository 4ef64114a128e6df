"""How concurrent runs share this machine's GPUs and their memory."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

SHARED_MEMORY = 0.9  # of a GPU, divided among its runs; the rest is for CUDA itself in each process
FRACTION = "XLA_PYTHON_CLIENT_MEM_FRACTION"
# If the user sets one of these, memory is left to them.
MEMORY_SETTINGS = (
    FRACTION,
    "XLA_CLIENT_MEM_FRACTION",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
    "XLA_PYTHON_CLIENT_ALLOCATOR",
)


def share(
    slot: int, parallel: int, gpus: Sequence[str], environment: Mapping[str, str]
) -> dict[str, str]:
    """The environment variables of a run: its GPUs, and its memory fraction on a shared one.

    With at most as many runs as GPUs, the GPUs are divided among the runs. With more runs, several
    share a GPU: JAX would reserve three quarters of its memory for each process, so each gets an
    equal part. Without GPUs nothing is set: the runs compete for the cores, and each has as many
    threads as it would alone, as on a CPU the number of threads affects rounding.

    Args:
      slot: of the run, from 0, below `parallel`.
      parallel: how many run at a time.
      gpus: all there are, as named in `CUDA_VISIBLE_DEVICES`.
      environment: of the user, whose own memory settings are kept.

    >>> share(1, 2, ["0", "1", "2", "3"], {})
    {'CUDA_VISIBLE_DEVICES': '1,3'}
    >>> share(2, 3, ["0"], {})
    {'CUDA_VISIBLE_DEVICES': '0', 'XLA_PYTHON_CLIENT_MEM_FRACTION': '0.300'}
    >>> share(2, 3, [], {})
    {}
    """
    if not gpus:
        return {}
    if parallel <= len(gpus):
        return {"CUDA_VISIBLE_DEVICES": ",".join(gpus[slot::parallel])}
    number = slot % len(gpus)
    given = {"CUDA_VISIBLE_DEVICES": gpus[number]}
    together = len(range(number, parallel, len(gpus)))
    if together > 1 and not any(environment.get(name) for name in MEMORY_SETTINGS):
        given[FRACTION] = f"{SHARED_MEMORY / together:.3f}"
    return given


def visible_gpus() -> list[str]:
    """NVIDIA GPUs that programs here may use, as named in `CUDA_VISIBLE_DEVICES`."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name.strip() and name != "-1"]
    if os.environ.get("JAX_PLATFORMS", "") == "cpu" or not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    count = sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return [str(number) for number in range(count)]
