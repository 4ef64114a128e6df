"""`npz:<path>`: one NumPy archive with x_train, y_train, x_test, y_test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from varmixup_jax.data.dataset import Part, Source
from varmixup_jax.data.validate import check_images, refusal

_FIELDS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: str | Path, source: str) -> Source:
    """Reads an `.npz` file of images and labels. Pickled objects in it are never read.

    The number of classes is the length of the optional field `label_names`, else one more than the
    largest training label (with names `0`, `1`, ...).

    Args:
      path: of a file with `x_train`, `x_test`: uint8 `[N, H, W, C]` (or `[N, H, W]`, grey),
        `y_train`, `y_test`: integers `[N]`, and optionally `label_names`: strings `[K]`.
      source: `npz`, or what was asked for where that led here, for messages.

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
    # Opened here: np.load leaves a file open if it is not a whole archive.
    with file.open("rb") as stream:
        arrays, names = _read_fields(stream, where)
    for field in ("x_train", "x_test"):
        if arrays[field].ndim == 3:
            arrays[field] = arrays[field][..., None]
        check_images(where, field, arrays[field])
    label_names = _label_names(where, arrays["y_train"], names)
    return Source(
        name=file.stem,
        where=where,
        train=Part(arrays["x_train"], arrays["y_train"], "x_train", "y_train"),
        test=Part(arrays["x_test"], arrays["y_test"], "x_test", "y_test"),
        label_names=label_names,
    )


def _read_fields(stream: BinaryIO, where: str) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    try:
        archive = np.load(stream, allow_pickle=False)
    except Exception as error:  # np.load documents no set of errors for damaged files
        raise ValueError(f"{where}: not a readable .npz file, it may be truncated") from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError(
            f"{where}: is a single array, must be a .npz file with {', '.join(_FIELDS)}"
        )
    with archive:
        arrays = {field: _field(archive, where, field) for field in _FIELDS}
        names = _field(archive, where, "label_names") if "label_names" in archive.files else None
    return arrays, names


def _field(archive: np.lib.npyio.NpzFile, where: str, field: str) -> np.ndarray:
    if field not in archive.files:
        raise refusal(where, field, "missing", f"one of the arrays {', '.join(_FIELDS)}")
    try:
        array = archive[field]
    except Exception as error:  # as above
        if isinstance(error, ValueError) and "allow_pickle" in str(error):
            found = "an array of Python objects (images of mixed sizes?)"
            raise refusal(where, field, found, "a plain array, images of one size") from error
        raise refusal(where, field, "truncated or damaged", "complete") from error
    if not isinstance(array, np.ndarray):  # the bytes of a member that is no .npy file
        raise refusal(where, field, "not an array", "a plain array")
    return array


def _label_names(where: str, labels: np.ndarray, names: np.ndarray | None) -> tuple[str, ...]:
    if names is not None:
        if names.dtype.kind != "U" or names.ndim != 1:
            found = f"dtype {names.dtype} and shape {names.shape}"
            raise refusal(where, "label_names", found, "strings of shape [K]")
        return tuple(str(name) for name in names)
    if labels.dtype.kind not in "iu" or labels.size == 0:
        found = f"shape {labels.shape} and dtype {labels.dtype}"
        raise refusal(where, "y_train", found, "integers of shape [N], N > 0")
    largest = int(labels.max())
    if largest >= labels.size:
        # Some class would be missing; said here because listing the classes could take all memory.
        raise refusal(where, "y_train", f"largest label {largest}", f"below {labels.size} images")
    return tuple(str(k) for k in range(largest + 1))
