"""`corruptions.json`: how a directory of corrupted images was made, and from which clean images.

A directory without one is a published set, or from another tool.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from varmixup_jax.atomic_files import loads, replace_text
from varmixup_jax.checks import reason, shown

MANIFEST = "corruptions.json"


def clean_sha256(images: np.ndarray, labels: np.ndarray) -> str:
    """Identifies labelled images, regardless of their order.

    Args:
      images: uint8 `[N, H, W, C]`.
      labels: integers `[N]`.

    Returns:
      Hex SHA-256 over the sorted SHA-256 of each image's pixels with its label.
    """
    each = sorted(
        hashlib.sha256(image.tobytes() + int(label).to_bytes(8, "little")).digest()
        for image, label in zip(images, labels, strict=True)
    )
    return hashlib.sha256(b"".join(each)).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a directory, or None.

    Raises:
      ValueError: it is not JSON, or its `names` or `classes` are not lists of text.
    """
    file = folder / MANIFEST
    if not file.is_file():
        return None
    try:
        facts = dict(loads(file.read_text(encoding="utf-8")))
        lists = [facts["names"], facts.get("classes", [])]
        sound = all(isinstance(each, list) and all(map(_is_text, each)) for each in lists)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{file}: {reason(error)}, must be JSON as `corruptions make` writes"
        ) from None
    if not sound:
        raise ValueError(f"{file}: names or classes is not a list of text, must be one")
    return facts


def begin(folder: Path, facts: Mapping[str, Any], names: Sequence[str]) -> set[str]:
    """Claims a directory for corruptions that are made as `facts` say.

    Args:
      folder: created if missing.
      facts: all but `names`.
      names: the corruptions to be made, in addition to existing ones.

    Returns:
      The names among them whose file already exists.

    Raises:
      ValueError: the directory holds other files, or corruptions that were made differently.
    """
    there = read_manifest(folder)
    if there is None and folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f"--out = {str(folder)!r}: has files and no {MANIFEST}, must be a new directory or one "
            "that this command made or began"
        )
    found = there or {"names": []}
    for fact, value in facts.items() if there else ():
        if found.get(fact) != value:
            raise ValueError(
                f"--out = {str(folder)!r}: holds corruptions with {fact} = {shown(found.get(fact))}, "
                f"must be {shown(value)}, or another directory"
            )
    done = {name for name in names if (folder / f"{name}.npy").exists()}
    foreign = sorted(done.difference(found["names"]))
    if foreign:
        raise ValueError(
            f"--out = {str(folder)!r}: holds {foreign[0]}.npy, which its {MANIFEST} does not name, "
            "must be another directory"
        )
    every = list(dict.fromkeys([*found["names"], *names]))
    replace_text(folder / MANIFEST, json.dumps({**facts, "names": every}, indent=2) + "\n")
    return done


def _is_text(value: object) -> bool:
    return isinstance(value, str)
