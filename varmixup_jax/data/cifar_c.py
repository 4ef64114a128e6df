"""CIFAR-10-C and CIFAR-100-C: one `.npy` file a corruption, or what TFDS prepared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from varmixup_jax import corruptions
from varmixup_jax.checks import reason
from varmixup_jax.data.corrupted_set import Batch, CorruptedSet
from varmixup_jax.data.prepared import version_folders
from varmixup_jax.data.published import CORRUPTED, check_hash
from varmixup_jax.data.tfds_source import open_prepared, open_records

TFDS_NAMES = {"glass_blur": "frosted_glass_blur", "elastic_transform": "elastic"}
"""TFDS renames two corruptions."""


def open_arrays(root: Path, kind: str, names: Sequence[str], md5: bool) -> CorruptedSet:
    if not root.is_dir():
        raise ValueError(f"{root}: found a file, expected the unpacked directory of .npy files")
    labels = _load(root / "labels.npy")
    severities = len(corruptions.SEVERITIES)
    if labels.ndim != 1 or len(labels) == 0 or len(labels) % severities:
        raise ValueError(
            f"{root / 'labels.npy'}: found shape {labels.shape}, expected [5 N] labels, severity by "
            "severity (published: [50000])"
        )
    if labels.dtype.kind not in "iu":
        raise ValueError(f"{root / 'labels.npy'}: found {labels.dtype}, expected whole numbers")
    count = len(labels) // severities
    if labels.min() < 0:
        raise ValueError(f"{root / 'labels.npy'}: found {labels.min()}, expected labels >= 0")
    if not np.array_equal(np.tile(labels[:count], severities), labels):
        raise ValueError(
            f"{root / 'labels.npy'}: found labels that differ between severities, expected those of "
            "the same images five times"
        )
    arrays = {}
    for name in names:
        file = root / f"{name}.npy"
        array = _load(file)
        size = array.shape[1] if array.ndim == 4 and array.shape[1] > 0 else 32
        channels = 1 if array.shape[-1:] == (1,) else 3
        expected = (len(labels), size, size, channels)
        if array.shape != expected or array.dtype != np.uint8:
            raise ValueError(
                f"{file}: found {array.dtype} {list(array.shape)}, expected uint8 {list(expected)} "
                "(as many rows as labels.npy)"
            )
        arrays[name] = array
    if md5:
        for name in ("labels", *names):
            check_hash(root / f"{name}.npy", CORRUPTED[kind][0].format(name))

    def read(name: str, severity: int, start: int, stop: int) -> Batch:
        rows = slice((severity - 1) * count + start, (severity - 1) * count + stop)
        return np.array(arrays[name][rows]), np.array(labels[rows], np.int32)

    return CorruptedSet(str(root), tuple(names), np.array(labels[:count], np.int32), read)


def open_tfds(root: Path, prepared: Path, names: Sequence[str]) -> CorruptedSet:
    configs = {
        (name, severity): f"{TFDS_NAMES.get(name, name)}_{severity}"
        for name in names
        for severity in corruptions.SEVERITIES
    }
    records = {}
    for (name, severity), config in configs.items():
        versions = version_folders(prepared / config)
        if not versions:
            raise ValueError(
                f"{prepared / config}: found nothing prepared, expected the output of "
                f"`tfds build cifar10_corrupted/{config} --file_format=array_record`"
            )
        builder = open_prepared(str(versions[-1]), versions[-1])
        if "test" not in builder.info.splits:
            raise ValueError(f"{versions[-1]}: found no split test, expected cifar10_corrupted")
        records[name, severity] = open_records(builder, "test")
    lengths = {len(each.source) for each in records.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"{prepared}: found {sorted(lengths)} images, expected one number > 0 for all"
        )
    every = range(lengths.pop())

    def read(name: str, severity: int, start: int, stop: int) -> Batch:
        images, found = records[name, severity].decoded(every[start:stop], channels=3)
        return images, found.astype(np.int32)

    labels = [label for _, _, label in records[names[0], 1].read(every)]
    return CorruptedSet(str(root), tuple(names), np.array(labels, np.int32), read)


def _load(file: Path) -> np.ndarray:
    if not file.is_file():
        raise ValueError(f"{file}: found no such file, expected one of the published set")
    try:
        return np.lib.format.open_memmap(file, mode="r")  # never unpickles
    except Exception as error:  # np.load documents no set of errors for damaged files
        raise ValueError(
            f"{file}: found a damaged file ({reason(error)}), expected .npy"
        ) from error
