"""Downloads original files from their official URLs and checks size and SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from varmixup_jax.data.originals import File

_BLOCK = 1 << 20  # bytes read at a time
_TIMEOUT = 30.0  # seconds without an answer before giving up


def fetch(file: File, folder: Path) -> Path:
    """The file, downloaded into a folder unless it is there already.

    It is written under another name and renamed once its checksum is right, so that a file that is
    there is whole.

    Args:
      file: what to download.
      folder: where to; made if need be.

    Returns:
      The path of the checked file.

    Raises:
      ValueError: if the address does not answer, or what came is not the expected file.
    """
    path = folder / file.name
    if path.is_file():
        verify(path, file)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    print(f"downloading {file.url} ({file.size / 1e6:.1f} MB)", file=sys.stderr, flush=True)
    handle, temporary = tempfile.mkstemp(dir=folder, suffix=".partial")
    try:
        with (
            os.fdopen(handle, "wb") as target,
            urllib.request.urlopen(file.url, timeout=_TIMEOUT) as answer,
        ):
            received = 0
            # Never more than one block beyond what was announced.
            while received <= file.size and (block := answer.read(_BLOCK)):
                target.write(block)
                received += len(block)
        verify(Path(temporary), file)
        os.replace(temporary, path)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise ValueError(
            f"{file.url}: no download ({error}); fetch it elsewhere and give --from FILE_OR_FOLDER"
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
    return path


def verify(path: Path, file: File) -> None:
    """Checks that a local file is the expected one.

    Args:
      path: an existing file.
      file: what it must be.

    Raises:
      ValueError: naming the path, its size or digest, and the expected one.
    """
    size = path.stat().st_size
    if size != file.size:
        raise ValueError(f"{path}: {size} bytes, must be {file.size} as in {file.name}")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        raise ValueError(f"{path}: sha256 {digest}, must be {file.sha256} as in {file.name}")
