"""Tiny-ImageNet-C: one JPEG file per image, in folders or in a tar of them."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from varmixup_jax import corruptions
from varmixup_jax.checks import reason
from varmixup_jax.data.corrupted_set import Batch, CorruptedSet, mismatch
from varmixup_jax.data.published import CORRUPTED, check_hash
from varmixup_jax.image_files import decode_images


class Member(NamedTuple):
    """Where an encoded image is stored: a file, or a part of an archive."""

    file: Path
    offset: int = 0
    size: int = -1


def open_folders(root: Path, names: Sequence[str], md5: bool) -> CorruptedSet:
    """`<corruption>/<severity>/<wnid>/*.JPEG` in a directory or in an archive of it."""
    if root.is_file():
        if md5:
            check_hash(root, *CORRUPTED["tiny_imagenet"])
        found = _tar_members(root)
    else:
        found = _folder_members(root, names)
    files: dict[tuple[str, str], list[tuple[str, str, Member]]] = {}
    for (name, folder, wnid, file), member in sorted(found.items()):
        files.setdefault((name, folder), []).append((wnid, file, member))
    keys = [(name, str(severity)) for name in names for severity in corruptions.SEVERITIES]
    wnids = sorted({wnid for key in keys for wnid, *_ in files.get(key, [])})
    classes = [wnid for wnid, *_ in files.get(keys[0], [])]
    for key in keys:
        there = [wnid for wnid, *_ in files.get(key, [])]
        if not there or len(set(there)) != len(wnids):
            expected = f"{len(wnids) or 'some'} as in the rest of the set"
            raise mismatch(root.joinpath(*key), f"images of {len(set(there))} classes", expected)
        if there != classes:
            expected = f"{len(classes)}, as many of each class as {names[0]} has at severity 1"
            raise mismatch(root.joinpath(*key), f"{len(there)} images", expected)
    label = {wnid: index for index, wnid in enumerate(wnids)}

    def read(name: str, severity: int, start: int, stop: int) -> Batch:
        entries = files[name, str(severity)][start:stop]
        encoded = ((f"{root}: {wnid}/{file}", _encoded(member)) for wnid, file, member in entries)
        labels = np.array([label[wnid] for wnid, *_ in entries], np.int32)
        return decode_images(encoded, len(entries), channels=3), labels

    labels = np.array([label[wnid] for wnid in classes], np.int32)
    return CorruptedSet(str(root), tuple(names), labels, read, class_names=tuple(wnids))


def _folder_members(root: Path, names: Sequence[str]) -> dict[tuple[str, ...], Member]:
    inner = root / "Tiny-ImageNet-C"
    base = inner if inner.is_dir() else root
    return {
        file.relative_to(base).parts: Member(file)
        for name in names
        for file in (base / name).glob("*/*/[!.]*.JPEG")
    }


def _tar_members(archive: Path) -> dict[tuple[str, ...], Member]:
    try:
        with tarfile.open(archive, "r:") as tar:
            return {
                tuple(entry.name.split("/")[-4:]): Member(archive, entry.offset_data, entry.size)
                for entry in tar
                if entry.isfile() and _is_image(entry.name)
            }
    except Exception as error:  # tarfile documents no set of errors for damaged files
        raise mismatch(archive, reason(error), "an uncompressed tar") from error


def _is_image(member: str) -> bool:
    hidden = member.rpartition("/")[2].startswith(".")
    return member.endswith(".JPEG") and member.count("/") >= 3 and not hidden


def _encoded(member: Member) -> bytes:
    with member.file.open("rb") as stream:
        stream.seek(member.offset)
        return stream.read(member.size)
