"""Compilation in the commands: XLA flags, and JAX's persistent cache in the user's cache directory."""

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
# Versions in which that was measured (docs/benchmarks.md); XLA aborts on flags it does not know.
_MEASURED = ("0.10.2", "0.11.2", "0.12.0.1")


def configure(*, deterministic: bool = False) -> None:
    """What a command does before it asks for the first device: `choose_flags` and `keep_programs`."""
    choose_flags(deterministic=deterministic)
    keep_programs()


def choose_flags(*, deterministic: bool = False) -> None:
    """Sets `XLA_FLAGS` for this process and those it starts.

    On several CPU cores training steps on 32x32 images take 10 to 40 % less time, and sums are in
    another order. If the user has set `XLA_FLAGS`, those flags are kept as they are.

    Args:
      deterministic: whether GPUs are to give bit-identical results, at some cost in speed; added to
        what the user has set.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if not flags and jax.__version__ in _MEASURED and _cores() > 1:
        flags = _EIGEN
    if deterministic:
        flags = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    if flags:
        os.environ["XLA_FLAGS"] = flags


def keep_programs() -> None:
    """Caches compiled programs in the user's cache directory: later starts take a quarter of the time.

    `JAX_COMPILATION_CACHE_DIR`, if set, names another directory.
    """
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = user_cache()
        if cache is None:
            text = "compiled programs are not kept: set XDG_CACHE_HOME to a writable directory"
            print(f"no cache directory can be written; {text}", file=sys.stderr, flush=True)
            return
        jax.config.update("jax_compilation_cache_dir", str(cache / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def user_cache() -> Path | None:
    """This package's part of the user's cache directory, which may not exist yet.

    None if it could not be written: no HOME and no user entry, as in some containers, or a directory
    of another user.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    place = Path(base) / "varmixup_jax"
    return place if place.is_absolute() and obstacle(place) is None else None


def _cores() -> int:
    """CPU cores that this process may use; 1 if that cannot be queried, as on macOS."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
