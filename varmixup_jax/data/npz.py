"""`npz:<path>`: one NumPy archive with x_train, y_train, x_test, y_test."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from varmixup_jax.atomic_files import read_arrays
from varmixup_jax.data.dataset import Part, Source
from varmixup_jax.data.validate import check_images, refusal

_FIELDS = ("x_train", "y_train", "x_test", "y_test")
_NAMES = "label_names"


def read_npz(path: str | Path, source: str) -> Source:
    """Reads an `.npz` file of images and labels. Pickled objects in it are never read.

    The number of classes is the length of the optional field `label_names`, else one more than the
    largest training label (with names `0`, `1`, ...).

    Args:
      path: of a file with `x_train`, `x_test`: uint8 `[N, H, W, C]` (or `[N, H, W]`, grey),
        `y_train`, `y_test`: integers `[N]`, and optionally `label_names`: strings `[K]`.
      source: `npz`, or the source that resolved to this file, for messages.

    Returns:
      A `Source` named after the file.

    Raises:
      ValueError: if the file is missing, truncated, not an archive, lacks a field, or holds images
        that are not uint8.
    """
    file = Path(os.path.expanduser(path))
    where = f"npz:{file}" if source == "npz" else f"{source} ({file})"
    if not file.is_file():
        raise ValueError(f"{where}: no such file, must be a .npz file with {', '.join(_FIELDS)}")
    arrays = read_arrays(file, only=(*_FIELDS, _NAMES))
    for field in _FIELDS:
        if field not in arrays:
            raise refusal(where, field, "missing", f"one of the arrays {', '.join(_FIELDS)}")
    for field in ("x_train", "x_test"):
        if arrays[field].ndim == 3:
            arrays[field] = arrays[field][..., None]
        check_images(where, field, arrays[field])
    label_names = _label_names(where, arrays["y_train"], arrays.get(_NAMES))
    return Source(
        name=file.stem,
        where=where,
        train=Part(arrays["x_train"], arrays["y_train"], "x_train", "y_train"),
        test=Part(arrays["x_test"], arrays["y_test"], "x_test", "y_test"),
        label_names=label_names,
    )


def _label_names(where: str, labels: np.ndarray, names: np.ndarray | None) -> tuple[str, ...]:
    if names is not None:
        if names.dtype.kind != "U" or names.ndim != 1:
            found = f"dtype {names.dtype} and shape {names.shape}"
            raise refusal(where, _NAMES, found, "strings of shape [K]")
        return tuple(str(name) for name in names)
    if labels.dtype.kind not in "iu" or labels.size == 0:
        found = f"shape {labels.shape} and dtype {labels.dtype}"
        raise refusal(where, "y_train", found, "integers of shape [N], N > 0")
    largest = int(labels.max())
    if largest >= labels.size:
        # Some class would be missing; refused here, as listing the classes could use up all memory.
        raise refusal(where, "y_train", f"largest label {largest}", f"below {labels.size} images")
    return tuple(str(k) for k in range(largest + 1))
