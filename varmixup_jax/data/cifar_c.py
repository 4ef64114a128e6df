"""CIFAR-10-C and CIFAR-100-C: one `.npy` file per corruption, or as prepared by TFDS."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from varmixup_jax import corruptions
from varmixup_jax.checks import reason
from varmixup_jax.data.corrupted_set import Batch, CorruptedSet, mismatch
from varmixup_jax.data.prepared import version_folders
from varmixup_jax.data.published import CORRUPTED, check_hash
from varmixup_jax.data.tfds_source import open_prepared, open_records

TFDS_NAMES = {"glass_blur": "frosted_glass_blur", "elastic_transform": "elastic"}
"""TFDS renames two corruptions."""


def open_arrays(root: Path, kind: str, names: Sequence[str], md5: bool) -> CorruptedSet:
    if not root.is_dir():
        raise mismatch(root, "a file", "the unpacked directory of .npy files")
    file, severities = root / "labels.npy", len(corruptions.SEVERITIES)
    labels = _load(file)
    if labels.ndim != 1 or len(labels) == 0 or len(labels) % severities:
        expected = "[5 N] labels, severity by severity (published: [50000])"
        raise mismatch(file, f"shape {labels.shape}", expected)
    if labels.dtype.kind not in "iu":
        raise mismatch(file, labels.dtype, "whole numbers")
    if labels.min() < 0:
        raise mismatch(file, labels.min(), "labels >= 0")
    count = len(labels) // severities
    if not np.array_equal(np.tile(labels[:count], severities), labels):
        expected = "those of the same images five times"
        raise mismatch(file, "labels that differ between severities", expected)
    arrays = {name: _load(root / f"{name}.npy") for name in names}
    for name, array in arrays.items():
        size = array.shape[1] if array.ndim == 4 and array.shape[1] > 0 else 32
        shape = (len(labels), size, size, 1 if array.shape[-1:] == (1,) else 3)
        if array.shape != shape or array.dtype != np.uint8:
            found = f"{array.dtype} {list(array.shape)}"
            expected = f"uint8 {list(shape)} (as many rows as labels.npy)"
            raise mismatch(root / f"{name}.npy", found, expected)
    if md5:
        for name in ("labels", *names):
            check_hash(root / f"{name}.npy", CORRUPTED[kind][0].format(name))

    def read(name: str, severity: int, start: int, stop: int) -> Batch:
        rows = slice((severity - 1) * count + start, (severity - 1) * count + stop)
        return np.array(arrays[name][rows]), np.array(labels[rows], np.int32)

    return CorruptedSet(str(root), tuple(names), np.array(labels[:count], np.int32), read)


def open_tfds(root: Path, prepared: Path, names: Sequence[str]) -> CorruptedSet:
    records = {}
    for name, severity in itertools.product(names, corruptions.SEVERITIES):
        config = f"{TFDS_NAMES.get(name, name)}_{severity}"
        versions = version_folders(prepared / config)
        if not versions:
            command = f"`tfds build cifar10_corrupted/{config} --file_format=array_record`"
            raise mismatch(prepared / config, "nothing prepared", f"the output of {command}")
        builder = open_prepared(str(versions[-1]), versions[-1])
        if "test" not in builder.info.splits:
            raise mismatch(versions[-1], "no split test", "cifar10_corrupted")
        records[name, severity] = open_records(builder, "test")
    lengths = {len(each.source) for each in records.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise mismatch(prepared, f"{sorted(lengths)} images", "one number > 0 for all")
    every = range(lengths.pop())

    def read(name: str, severity: int, start: int, stop: int) -> Batch:
        images, found = records[name, severity].decoded(every[start:stop], channels=3)
        return images, found.astype(np.int32)

    labels = [label for _, _, label in records[names[0], 1].read(every)]
    return CorruptedSet(str(root), tuple(names), np.array(labels, np.int32), read)


def _load(file: Path) -> np.ndarray:
    if not file.is_file():
        raise mismatch(file, "no such file", "one of the published set")
    try:
        return np.lib.format.open_memmap(file, mode="r")  # never unpickles
    except Exception as error:  # np.load documents no set of errors for damaged files
        raise mismatch(file, f"a damaged file ({reason(error)})", ".npy") from error
