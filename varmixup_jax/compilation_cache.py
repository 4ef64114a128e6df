"""The user's cache directory, and JAX's persistent compilation cache in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jax

from varmixup_jax.atomic_files import obstacle


def user_cache() -> Path | None:
    """This package's part of the user's cache directory, which may not exist yet.

    None where it could not be written: no HOME and no entry among the users, as in some containers,
    or a directory of somebody else.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    place = Path(base) / "varmixup_jax"
    return place if place.is_absolute() and obstacle(place) is None else None


def enable() -> None:
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
