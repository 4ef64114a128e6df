"""`logits.npz`: a classifier's logits for every test image, for computing further measures later.

    labels          int32 [N]       classes of the clean test images
    clean           float16 [N, K]  logits of the clean images
    fog/3           float16 [M, K]  logits of a corrupted view, CORRUPTION/SEVERITY
    labels/fog/3    int32 [M]       its labels, only if they are not `labels` (M may differ from N)

The largest logit of each row was subtracted before rounding, which changes neither softmax nor order:
float16 then keeps the prediction, while around 20 it could not distinguish logits that differ by 0.01.
Files from elsewhere may hold any floating logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from varmixup_jax.atomic_files import read_arrays

FILE = "logits.npz"
CLEAN = "clean"
Condition = tuple[str, int]  # corruption and severity, ("none", 0) for the clean images


class Predictions(NamedTuple):
    """Logits of one set of images, and their classes.

    Attributes:
      logits: floating `[N, K]`.
      labels: int32 `[N]`.
    """

    logits: np.ndarray
    labels: np.ndarray


def as_arrays(predictions: Mapping[Condition, Predictions]) -> dict[str, np.ndarray]:
    """The content of a file, for `np.savez`.

    Args:
      predictions: by corruption and severity, including the clean ones, `("none", 0)`.
    """
    clean = predictions["none", 0].labels
    arrays = {"labels": clean.astype(np.int32)}
    for (corruption, severity), (logits, labels) in predictions.items():
        name = CLEAN if corruption == "none" else f"{corruption}/{severity}"
        arrays[name] = _rounded(logits)
        if not np.array_equal(labels, clean):
            arrays[f"labels/{name}"] = labels.astype(np.int32)
    return arrays


def read(path: Path | str) -> dict[Condition, Predictions]:
    """The predictions in a file, by corruption and severity; the clean ones are `("none", 0)`.

    Raises:
      ValueError: the file is missing or damaged, has no labels, or has an array whose name, dtype or
        shape is not as above; the message names file and array.
    """
    arrays = read_arrays(Path(path))
    if "labels" not in arrays:
        raise ValueError(f"{path}: has no array 'labels', must have the classes, integer [N]")
    found = {}
    for name, logits in arrays.items():
        if name == "labels" or name.startswith("labels/"):
            continue
        corruption, _, severity = name.rpartition("/")
        if name != CLEAN and not (corruption and severity in "12345" and len(severity) == 1):
            text = f"must be labels, {CLEAN}, or CORRUPTION/SEVERITY as fog/3"
            raise ValueError(f"{path}: has an array {name!r}, {text}")
        condition = ("none", 0) if name == CLEAN else (corruption, int(severity))
        labels = arrays.get(f"labels/{name}", arrays["labels"])
        if logits.dtype.kind != "f" or logits.ndim != 2 or logits.shape[1] < 2:
            shown = f"{logits.dtype} {list(logits.shape)}"
            raise ValueError(f"{path}: {name} is {shown}, must be floating [N, K], K >= 2")
        if labels.dtype.kind not in "iu" or labels.shape != logits.shape[:1]:
            shown = f"{labels.dtype} {list(labels.shape)}"
            text = f"must be integer [{len(logits)}] as {name} has rows"
            raise ValueError(f"{path}: labels of {name} are {shown}, {text}")
        found[condition] = Predictions(logits, labels.astype(np.int32))
    if not found:
        raise ValueError(f"{path}: has only labels, must have logits: {CLEAN}, fog/3, ...")
    return found


def _rounded(logits: np.ndarray) -> np.ndarray:
    lowest = float(np.finfo(np.float16).min)
    below = logits.astype(np.float32) - logits.max(axis=1, keepdims=True)
    return np.maximum(below, lowest).astype(np.float16)
