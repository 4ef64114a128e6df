"""Text files that are always whole: temporary file, fsync, rename."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Writes a file so that a reader sees the old text or the new, never a part.

    What was there stays if anything fails; a new file can be read by everyone.

    Args:
      path: its directory is made where it is missing.
      text: half a character, which JSON can name, is no UTF-8 and is written as its escape.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's 0600 would hide a shared run from its readers.
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
