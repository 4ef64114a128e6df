"""XLA's flags, set by the commands before they ask for the first device."""

from __future__ import annotations

import os

import jax

# Wide float32 convolutions go to Eigen, which uses all cores, instead of YNNPACK, which uses one.
_EIGEN = (
    "--xla_cpu_experimental_ynn_fusion_type="
    "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
)
# Where that was measured (docs/benchmarks.md); XLA ends a process whose flags it does not know.
_MEASURED = ("0.10.2", "0.11.2", "0.12.0.1")


def choose(*, deterministic: bool = False) -> None:
    """Sets `XLA_FLAGS` for this process and those it starts.

    On several CPU cores training steps of 32x32 images take 10 to 40 % less time, for sums in another
    order. Where the user has set `XLA_FLAGS`, what stands there stays as it is.

    Args:
      deterministic: whether GPUs are to repeat results bit by bit, at some speed; added to what the
        user has set.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if not flags and jax.__version__ in _MEASURED and _cores() > 1:
        flags = _EIGEN
    if deterministic:
        flags = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    if flags:
        os.environ["XLA_FLAGS"] = flags


def _cores() -> int:
    """CPU cores that this process may use; 1 where that cannot be asked, as on macOS."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
