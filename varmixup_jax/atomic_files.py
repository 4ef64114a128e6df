"""Files that are whole or refused: written by temporary file, fsync and rename; npz files read."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from varmixup_jax.checks import one_line


def replace_text(path: Path, text: str) -> None:
    """`replace_bytes` of a text.

    Args:
      path: its directory is made where it is missing.
      text: a lone surrogate, which JSON can contain but UTF-8 cannot, is written as its escape.
    """
    replace_bytes(path, text.encode("utf-8", "backslashreplace"))


def replace_bytes(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees the old content or the new, never a part.

    What was there stays if anything fails; a new file can be read by everyone.

    Args:
      path: its directory is made where it is missing.
      content: of the whole file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's 0600 would hide a shared run from its readers.
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """`replace_bytes` of a compressed npz file of these arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    replace_bytes(path, buffer.getvalue())


def read_arrays(path: Path, wrong: str = "not a readable npz file") -> dict[str, np.ndarray]:
    """All arrays of an npz file. Pickled objects in it are never read.

    Args:
      path: the file.
      wrong: what the refusal says of it.

    Raises:
      ValueError: it is missing, damaged, no npz file, or needs pickle.
    """
    try:
        # Opened here: np.load leaves a file open if it is not a whole archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in arrays.files}
    except Exception as error:  # np.load documents no set of errors for damaged files
        raise ValueError(f"{path}: {wrong} ({one_line(error)})") from None
