"""Decoded images kept in the user's cache directory, so that only the first load decodes them.

An entry is a file in `$XDG_CACHE_HOME/varmixup_jax/decoded`, by default under `~/.cache`.

Decoding CIFAR-10's 60,000 PNGs takes about 15 s of CPU time, reading the decoded arrays under 1 s. A
cache entry is one uncompressed `.npz` (its zip checksums catch damage); it is written under another
name and renamed, so that no reader sees a partial one. If anything about the cache fails, the images
are decoded.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from varmixup_jax.atomic_files import read_arrays, replacing
from varmixup_jax.compilation import user_cache

_KEY = "cache_key"


def stamp(files: Iterable[Path], *extra: object) -> str:
    """Identifies the state of some files without reading them.

    Args:
      files: existing files.
      *extra: whatever else the decoded arrays depend on.

    Returns:
      Hex SHA-256 over the path, size and modification time of each file, sorted, and `extra`.

    Raises:
      OSError: if a file does not exist.
    """
    digest = hashlib.sha256(repr(extra).encode())
    for file in sorted(files):
        status = file.stat()
        digest.update(f"\n{file}\0{status.st_size}\0{status.st_mtime_ns}".encode())
    return digest.hexdigest()


def through_cache(
    name: str, folder: Path, key: str, decode: Callable[[], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The decoded arrays of a folder, from the cache if it has them under this key.

    There is one entry for each folder: a new key replaces the old entry.

    Args:
      name: a readable prefix of the entry's file name.
      folder: where the encoded images are.
      key: of everything the arrays depend on, see `stamp`.
      decode: makes the arrays if they are not in the cache.

    Returns:
      What `decode` returned, in this call or an earlier one.
    """
    cache = user_cache()
    if cache is None:
        return dict(decode())
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    entry = cache / "decoded" / f"{name}-{place}.npz"
    with contextlib.suppress(ValueError):
        arrays = read_arrays(entry)
        if str(arrays.pop(_KEY, "")) == key:
            return arrays
    arrays = dict(decode())
    with contextlib.suppress(OSError), replacing(entry) as file:
        np.savez(file, **{_KEY: np.array(key)}, **arrays)  # type: ignore[arg-type]
    return arrays
