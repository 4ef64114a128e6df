"""The published corruption sets as they are distributed: CIFAR-C, its TFDS form, Tiny-ImageNet-C.

`open_published` looks at every file before the first image is read, so that an evaluation either
has all its parts or does not start. Images are memory-mapped or decoded batch by batch.

References: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations", ICLR 2019, and the sets at doi 10.5281/zenodo.2535967 (CIFAR-10-C), 3555552
(CIFAR-100-C) and 2536630 (Tiny-ImageNet-C).
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from varmixup_jax import checks, corruptions
from varmixup_jax.checks import reason
from varmixup_jax.corruptions.published import MD5, check_md5
from varmixup_jax.data.images import decode_image

SEVERITY_FOLDERS = tuple(map(str, corruptions.SEVERITIES))
Batch = tuple[np.ndarray, np.ndarray]

KINDS = ("cifar10", "cifar100", "tiny_imagenet")

TFDS_NAMES = {"glass_blur": "frosted_glass_blur", "elastic_transform": "elastic"}
"""TFDS renames two corruptions."""


class Member(NamedTuple):
    """Where an encoded image lies: a file, or a part of an archive."""

    file: Path
    offset: int = 0
    size: int = -1


class Published(NamedTuple):
    """A published set, checked and ready to stream.

    Attributes:
      where: the directory or archive, for messages and result rows.
      names: the corruptions it holds, all of those asked for.
      count: images per corruption and severity.
      classes: one more than the largest label.
      read: `(name, severity, start, stop) -> (uint8 [n, H, W, 3], int32 [n])`.
    """

    where: str
    names: tuple[str, ...]
    count: int  # type: ignore[assignment]
    classes: int
    read: Callable[[str, int, int, int], Batch]

    def batches(self, name: str, severity: int, batch_size: int) -> Iterator[Batch]:
        """Images and labels of one corruption at one severity, in order; the last may be short.

        Args:
          name: one of `names`.
          severity: 1 to 5.
          batch_size: images at a time.

        Yields:
          uint8 `[n, H, W, 3]` and int32 `[n]`.

        Raises:
          ValueError: unknown name, severity or batch size.
        """
        checks.one_of(self.names, name=name)
        checks.one_of(corruptions.SEVERITIES, severity=severity)
        checks.whole(1, batch_size=batch_size)
        for start in range(0, self.count, batch_size):
            yield self.read(name, severity, start, min(start + batch_size, self.count))


def open_published(
    path: str | Path,
    kind: str,
    names: Sequence[str] = corruptions.NAMES,
    *,
    md5: bool = False,
) -> Published:
    """Opens a published corruption set and checks that all of it is there.

    Args:
      path: for CIFAR a directory of `<corruption>.npy` and `labels.npy`, or a TFDS directory that
        holds the prepared `cifar10_corrupted`; for Tiny-ImageNet-C a directory
        `<corruption>/<severity>/<wnid>/*.JPEG` or the tar of it.
      kind: `cifar10`, `cifar100` or `tiny_imagenet`: which set it is.
      names: the corruptions that will be read.
      md5: compare the files with the published md5 sums (reads them once); needed once per
        download, not once per run. Sets made with other tools have other sums.

    Returns:
      The set.

    Raises:
      ValueError: a file is missing, or its shape, type or md5 is not what it should be; the message
        names the file, what was found and what was expected.
    """
    checks.one_of(KINDS, kind=kind)
    checks.one_of(corruptions.FUNCTIONS, **{f"names[{i}]": name for i, name in enumerate(names)})
    root = Path(path)
    if not root.exists():
        raise ValueError(f"{root}: found nothing, expected the directory of the {kind} corruptions")
    if kind == "tiny_imagenet":
        return _open_folders(root, names, md5)
    prepared = root / "cifar10_corrupted"
    if kind == "cifar10" and prepared.is_dir():
        return _open_tfds(root, prepared, names)
    return _open_arrays(root, kind, names, md5)


def _open_arrays(root: Path, kind: str, names: Sequence[str], md5: bool) -> Published:
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
        expected = (len(labels), size, size, 3)
        if array.shape != expected or array.dtype != np.uint8:
            raise ValueError(
                f"{file}: found {array.dtype} {list(array.shape)}, expected uint8 {list(expected)} "
                "(as many rows as labels.npy)"
            )
        arrays[name] = array
    if md5:
        for name in ("labels", *names):
            check_md5(root / f"{name}.npy", kind, name)

    def read(name: str, severity: int, start: int, stop: int) -> Batch:
        rows = slice((severity - 1) * count + start, (severity - 1) * count + stop)
        return np.array(arrays[name][rows]), np.array(labels[rows], np.int32)

    return Published(str(root), tuple(names), count, int(labels.max()) + 1, read)


def _load(file: Path) -> np.ndarray:
    if not file.is_file():
        raise ValueError(f"{file}: found no such file, expected one of the published set")
    try:
        return np.lib.format.open_memmap(file, mode="r")  # never unpickles
    except Exception as error:  # np.load documents no set of errors for damaged files
        raise ValueError(
            f"{file}: found a damaged file ({reason(error)}), expected .npy"
        ) from error


def _open_tfds(root: Path, prepared: Path, names: Sequence[str]) -> Published:
    configs = {
        (name, severity): f"{TFDS_NAMES.get(name, name)}_{severity}"
        for name in names
        for severity in corruptions.SEVERITIES
    }
    folders = {}
    for pair, config in configs.items():
        versions = sorted((prepared / config).glob("*/dataset_info.json"))
        if not versions:
            raise ValueError(
                f"{prepared / config}: found nothing prepared, expected the output of "
                f"`tfds build cifar10_corrupted/{config} --file_format=array_record`"
            )
        folders[pair] = versions[-1].parent
    # Imported here: it takes half a second, and the other layouts do not need it.
    import tensorflow_datasets as tfds

    sources, classes = {}, 0
    for pair, folder in folders.items():
        try:
            builder = tfds.builder_from_directory(str(folder))
            sources[pair] = builder.as_data_source(split="test")
            classes = builder.info.features["label"].num_classes
        except Exception as error:  # what TFDS, protobuf and array_record raise of damaged files
            raise ValueError(
                f"{folder}: found a set that cannot be read ({reason(error)}), expected a prepared "
                "cifar10_corrupted"
            ) from error
    lengths = {len(source) for source in sources.values()}
    if len(lengths) != 1:
        raise ValueError(f"{prepared}: found {sorted(lengths)} images, expected one number for all")

    def read(name: str, severity: int, start: int, stop: int) -> Batch:
        source = sources[name, severity]
        try:
            records = [source[index] for index in range(start, stop)]
            images = np.stack([record["image"] for record in records])
        except Exception as error:  # as above
            raise ValueError(
                f"{folders[name, severity]}: found a damaged record ({reason(error)}), expected "
                "images of one size"
            ) from error
        return images, np.array([record["label"] for record in records], np.int32)

    return Published(str(root), tuple(names), lengths.pop(), classes, read)


def _open_folders(root: Path, names: Sequence[str], md5: bool) -> Published:
    """`<corruption>/<severity>/<wnid>/*.JPEG` in a directory or in an archive of it."""
    if root.is_file():
        if md5:
            check_md5(root, "tiny_imagenet", *MD5["tiny_imagenet"])
        found = _tar_members(root)
    else:
        found = _folder_members(root, names)
    files: dict[tuple[str, int], list[tuple[str, str, Member]]] = {}
    for (name, folder, wnid, file), member in found.items():
        if folder in SEVERITY_FOLDERS:
            files.setdefault((name, int(folder)), []).append((wnid, file, member))
    wnids = sorted({wnid for entries in files.values() for wnid, _, _ in entries})
    counts = set()
    for name in names:
        for severity in corruptions.SEVERITIES:
            entries = files.get((name, severity), [])
            classes = {wnid for wnid, _, _ in entries}
            if len(classes) != len(wnids) or not entries:
                raise ValueError(
                    f"{root / name / str(severity)}: found images of {len(classes)} classes, "
                    f"expected {len(wnids) or 'some'} as in the rest of the set"
                )
            entries.sort(key=lambda entry: entry[:2])
            counts.add(len(entries))
    if len(counts) != 1:
        raise ValueError(
            f"{root}: found {min(counts)} to {max(counts)} images per corruption and severity, "
            "expected one number for all"
        )
    label = {wnid: index for index, wnid in enumerate(wnids)}

    def read(name: str, severity: int, start: int, stop: int) -> Batch:
        entries = files[name, severity][start:stop]
        images = [_decoded(member, "/".join((wnid, file))) for wnid, file, member in entries]
        shapes = sorted({image.shape for image in images})
        if len(shapes) > 1:
            raise ValueError(f"{root / name}: found images of shapes {shapes}, expected one")
        return np.stack(images), np.array([label[wnid] for wnid, *_ in entries], np.int32)

    return Published(str(root), tuple(names), counts.pop(), len(wnids), read)


def _folder_members(root: Path, names: Sequence[str]) -> dict[tuple[str, ...], Member]:
    inner = root / "Tiny-ImageNet-C"
    base = inner if inner.is_dir() else root
    return {
        file.relative_to(base).parts: Member(file)
        for name in names
        for file in (base / name).glob("*/*/*.JPEG")
    }


def _tar_members(archive: Path) -> dict[tuple[str, ...], Member]:
    try:
        with tarfile.open(archive, "r:") as tar:
            return {
                tuple(entry.name.split("/")[-4:]): Member(archive, entry.offset_data, entry.size)
                for entry in tar
                if entry.isfile() and entry.name.endswith(".JPEG") and entry.name.count("/") >= 3
            }
    except Exception as error:  # tarfile documents no set of errors for damaged files
        text = f"found {reason(error)}, expected an uncompressed tar"
        raise ValueError(f"{archive}: {text}") from error


def _decoded(member: Member, image: str) -> np.ndarray:
    try:
        with member.file.open("rb") as stream:
            stream.seek(member.offset)
            return decode_image(stream.read(member.size), channels=3)
    except OSError as error:
        text = f"found a damaged image {image} ({reason(error)}), expected a JPEG"
        raise ValueError(f"{member.file}: {text}") from error
