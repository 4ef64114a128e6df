"""Data sets made from their original archives: NumPy only, no TensorFlow, no pickle.

Archives are read by member name and in memory; nothing is ever extracted to disk.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

_CIFAR_SHAPE = (3, 32, 32)  # channel, row, column: the order of the bytes in the binary version

Arrays = dict[str, np.ndarray]
"""As in an npz data set: `x_train`, `y_train`, `x_test`, `y_test`, `label_names`."""


def read_cifar(
    files: Sequence[Path],
    *,
    folder: str,
    train: Sequence[str],
    test: Sequence[str],
    names: str,
    label_bytes: int,
) -> Arrays:
    """Reads the binary version of CIFAR-10 or CIFAR-100.

    A record is one byte per label, then 3072 bytes: red, green and blue plane, row by row.

    Args:
      files: the one `.tar.gz`.
      folder: the folder of the members within it.
      train: the `.bin` members of the training split, in order.
      test: those of the test split.
      names: the member that lists the class names.
      label_bytes: label bytes per record; the last one is the label.

    Returns:
      The arrays, with images `[N, 32, 32, 3]` in the order of the files.

    Raises:
      ValueError: naming the archive and the member that is missing, truncated or out of range.
    """
    (archive,) = files
    raw = _tar_members(archive, [f"{folder}/{name}" for name in (names, *train, *test)])
    try:
        lines = raw[f"{folder}/{names}"].decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{archive}: {folder}/{names}: not UTF-8, must be text") from error
    arrays = {"label_names": np.array([line.strip() for line in lines if line.strip()], str)}
    size = label_bytes + int(np.prod(_CIFAR_SHAPE))
    for split, bins in (("train", train), ("test", test)):
        records = []
        for member in bins:
            data = raw[f"{folder}/{member}"]
            if not data or len(data) % size:
                text = f"{len(data)} bytes, must be whole records of {size}"
                raise ValueError(f"{archive}: {folder}/{member}: {text}")
            records.append(np.frombuffer(data, np.uint8).reshape(-1, size))
        table = np.concatenate(records)
        labels = table[:, label_bytes - 1].astype(np.int64)
        _check_range(archive, f"{split} label", labels, 0, len(arrays["label_names"]) - 1)
        planes = table[:, label_bytes:].reshape(-1, *_CIFAR_SHAPE)
        arrays[f"x_{split}"] = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        arrays[f"y_{split}"] = labels
    return arrays


def read_svhn(files: Sequence[Path]) -> Arrays:
    """Reads the cropped digits of SVHN: MATLAB files, X `[32, 32, 3, N]`, y `[N, 1]` in 1..10.

    Args:
      files: `train_32x32.mat` and `test_32x32.mat`.

    Returns:
      The arrays, with images `[N, 32, 32, 3]`; the digit 0, stored as 10, becomes label 0.

    Raises:
      ValueError: naming the file that is damaged or out of range.
    """
    # Imported here: no other reader needs it.
    from scipy.io import loadmat

    arrays = {"label_names": np.array([str(digit) for digit in range(10)])}
    for split, file in zip(("train", "test"), files, strict=True):
        try:
            matrices = loadmat(str(file), variable_names=["X", "y"])
            images, digits = matrices["X"], matrices["y"].astype(np.int64).ravel()
        except Exception as error:  # loadmat documents no set of errors for damaged files
            raise ValueError(f"{file}: not a whole MATLAB file with X and y") from error
        expected = (32, 32, 3, len(digits))
        if images.dtype != np.uint8 or images.shape != expected:
            found = f"{images.dtype} of shape {images.shape}"
            raise ValueError(f"{file}: field X: {found}, must be uint8 {expected}")
        _check_range(file, "field y", digits, 1, 10)
        arrays[f"x_{split}"] = np.ascontiguousarray(images.transpose(3, 0, 1, 2))
        arrays[f"y_{split}"] = digits % 10
    return arrays


def _tar_members(archive: Path, wanted: Sequence[str]) -> dict[str, bytes]:
    found = {}
    try:
        # One pass: seeking back in a gzipped tar would decompress it again for every member.
        with tarfile.open(archive, mode="r|gz") as tar:
            for member in tar:
                if member.name in wanted and member.isreg():
                    stream = tar.extractfile(member)
                    assert stream is not None  # as for every regular file
                    found[member.name] = stream.read()
    except Exception as error:  # tarfile documents no set of errors for damaged files
        raise ValueError(f"{archive}: truncated, damaged or not a .tar.gz") from error
    for name in wanted:
        if name not in found:
            raise ValueError(f"{archive}: no member {name}, must have {', '.join(wanted)}")
    return found


def _check_range(file: Path, field: str, values: np.ndarray, low: int, high: int) -> None:
    outside = values[(values < low) | (values > high)]
    if len(outside):
        raise ValueError(f"{file}: {field}: {outside[0]}, must be in {low}..{high}")


class Original(NamedTuple):
    """A data set that `varmixup_jax.data.prepare` makes without TensorFlow.

    Attributes:
      version: of the TFDS set that holds the same images.
      files: the original files, listed in `published.txt`, in the order `read` takes them.
      read: files to arrays.
    """

    version: str
    files: tuple[str, ...]
    read: Callable[[Sequence[Path]], Arrays]


ORIGINALS: dict[str, Original] = {
    "cifar10": Original(  # Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images
        "3.0.2",
        ("cifar-10-binary.tar.gz",),
        partial(
            read_cifar,
            folder="cifar-10-batches-bin",
            train=[f"data_batch_{number}.bin" for number in range(1, 6)],
            test=["test_batch.bin"],
            names="batches.meta.txt",
            label_bytes=1,
        ),
    ),
    "cifar100": Original(  # the same; of its two labels the fine one
        "3.0.2",
        ("cifar-100-binary.tar.gz",),
        partial(
            read_cifar,
            folder="cifar-100-binary",
            train=["train.bin"],
            test=["test.bin"],
            names="fine_label_names.txt",
            label_bytes=2,
        ),
    ),
    # Netzer et al. 2011, Reading Digits in Natural Images; without the 531,131 `extra` images.
    "svhn_cropped": Original("3.1.0", ("train_32x32.mat", "test_32x32.mat"), read_svhn),
}
