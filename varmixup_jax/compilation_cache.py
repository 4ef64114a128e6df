"""JAX's persistent compilation cache, switched on by the command line."""

from __future__ import annotations

import os
from pathlib import Path

import jax


def enable() -> None:
    """Keeps compiled programs under the user's cache directory: a second start takes a quarter.

    `JAX_COMPILATION_CACHE_DIR`, where set, names another place.
    """
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(cache) / "varmixup_jax" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
