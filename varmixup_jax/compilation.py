"""How the commands have programs compiled: XLA's flags, and JAX's persistent cache in the user's."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jax

from varmixup_jax.atomic_files import obstacle

# Wide float32 convolutions go to Eigen, which uses all cores, instead of YNNPACK, which uses one.
_EIGEN = (
    "--xla_cpu_experimental_ynn_fusion_type="
    "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
)
# Where that was measured (docs/benchmarks.md); XLA ends a process whose flags it does not know.
_MEASURED = ("0.10.2", "0.11.2", "0.12.0.1")


def configure(*, deterministic: bool = False) -> None:
    """What a command does before it asks for the first device: `choose_flags` and `keep_programs`."""
    choose_flags(deterministic=deterministic)
    keep_programs()


def choose_flags(*, deterministic: bool = False) -> None:
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


def keep_programs() -> None:
    """Keeps compiled programs under the user's cache directory: a second start takes a quarter.

    `JAX_COMPILATION_CACHE_DIR`, where set, names another place.
    """
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = user_cache()
        if cache is None:
            text = "compiled programs are not kept: set XDG_CACHE_HOME to a directory of yours"
            print(f"no cache directory can be written; {text}", file=sys.stderr, flush=True)
            return
        jax.config.update("jax_compilation_cache_dir", str(cache / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def user_cache() -> Path | None:
    """This package's part of the user's cache directory, which may not exist yet.

    None where it could not be written: no HOME and no entry among the users, as in some containers,
    or a directory of somebody else.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    place = Path(base) / "varmixup_jax"
    return place if place.is_absolute() and obstacle(place) is None else None


def _cores() -> int:
    """CPU cores that this process may use; 1 where that cannot be asked, as on macOS."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
