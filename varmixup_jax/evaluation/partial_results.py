"""Finished parts of an evaluation, kept until it is complete, so that it can be resumed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from varmixup_jax.atomic_files import replacing

FOLDER = ".evaluation"


class Kept:
    """Arrays of one evaluation by name, in a directory; those of another evaluation are discarded.

    Args:
      directory: of the run.
      identity: what the arrays depend on (the model, the images, the settings), as JSON values.
    """

    def __init__(self, directory: Path, identity: Any):
        self._folder = directory / FOLDER
        text = json.dumps(identity, sort_keys=True, default=str)
        self._identity = hashlib.sha256(text.encode()).hexdigest()
        if self._noted() != self._identity:
            self.discard()

    def __call__(self, name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of this name; computed and kept if there is none or it is damaged."""
        path = self._folder / f"{name.replace('/', '_')}.npy"
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            found = compute()
        if self._noted() != self._identity:
            with replacing(self._folder / "identity") as file:
                file.write(self._identity.encode())
        with replacing(path) as file:
            np.save(file, found)
        return found

    def discard(self) -> None:
        """Removes everything: the results have been written, or belong to another evaluation."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _noted(self) -> str:
        try:
            return (self._folder / "identity").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""
