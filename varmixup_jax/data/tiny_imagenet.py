"""`tiny_imagenet`: the tiny-imagenet-200 folder as distributed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from varmixup_jax.data import cache
from varmixup_jax.data.dataset import Part, Source
from varmixup_jax.data.validate import refusal
from varmixup_jax.image_files import decode_images

_FOLDER = "tiny-imagenet-200"
_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
_SHAPE = (64, 64, 3)


def read_tiny_imagenet(data_dir: str | None) -> Source:
    """Reads `train/<wnid>/images/*.JPEG` and `val/images` with `val/val_annotations.txt`.

    Label k is the k-th of the sorted wnids. The distributed validation images are the test part
    here, because the distributed test images have no labels; grey images become RGB. The decoded
    arrays are cached (see `varmixup_jax.data.cache`).

    Args:
      data_dir: the `tiny-imagenet-200` folder, or the folder that holds it.

    Returns:
      A `Source` named `tiny_imagenet` with images uint8 `[N, 64, 64, 3]`, training images in the
      order of class and file name, test images in the order of the annotation file. Class names
      come from `words.txt` (the first synonym), else they are the wnids.

    Raises:
      ValueError: if the folder is missing, its wnids do not match `wnids.txt`, the annotations do
        not match the validation images, or an image is damaged or not 64x64.
    """
    root = _find(data_dir)
    where = f"tiny_imagenet ({root})"
    wnids = _wnids(where, root)
    train_files, train_labels = [], []
    for label, wnid in enumerate(wnids):
        files = _jpegs(root / "train" / wnid / "images")
        train_files += files
        train_labels += [label] * len(files)
    test_files, test_labels = _annotated(where, root / "val", wnids)
    for field, files in (("train", train_files), ("val", test_files)):
        if not files:
            raise refusal(where, field, "0 images", "1 image or more")

    def decode() -> dict[str, np.ndarray]:
        return {"train": _decode(train_files), "test": _decode(test_files)}

    key = cache.stamp([*train_files, *test_files])
    arrays = cache.through_cache("tiny_imagenet", root, key, decode)
    return Source(
        name="tiny_imagenet",
        where=where,
        train=Part(arrays["train"], np.array(train_labels), "train", "train"),
        test=Part(arrays["test"], np.array(test_labels), "val", "val/val_annotations.txt"),
        label_names=_names(where, root / "words.txt", wnids),
    )


def _find(data_dir: str | None) -> Path:
    base = Path(os.path.expanduser(data_dir or "."))
    for root in (base, base / _FOLDER):
        if (root / "train").is_dir() and (root / "val").is_dir():
            return root
    raise ValueError(
        f"tiny_imagenet: data_dir = {data_dir!r}: config.data.dir must be the {_FOLDER} folder "
        f"(with train/ and val/) or the folder that holds it; unpack {_URL} there"
    )


def _wnids(where: str, root: Path) -> list[str]:
    wnids = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
    listed = root / "wnids.txt"
    if listed.is_file():
        # A class folder that is missing would silently shift every later label.
        expected = set(_text(where, listed).split())
        for wnid in sorted(expected.symmetric_difference(wnids)):
            found = "missing" if wnid in expected else "not in wnids.txt"
            raise refusal(where, f"train/{wnid}", found, "one folder for each line of wnids.txt")
    return wnids


def _text(where: str, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise refusal(where, file.name, "not readable as text", "a UTF-8 text file") from error


def _jpegs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in (".jpeg", ".jpg"))


def _annotated(where: str, val: Path, wnids: list[str]) -> tuple[list[Path], list[int]]:
    """The validation images and their labels, in the order of val_annotations.txt."""
    field = "val/val_annotations.txt"
    annotations = val / "val_annotations.txt"
    if not annotations.is_file():
        raise refusal(where, field, "missing", "a file of lines <image>, <wnid>, tab-separated")
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    present = {path.name for path in _jpegs(val / "images")}
    files, labels = {}, []
    for number, line in enumerate(_text(where, annotations).splitlines(), start=1):
        name, wnid, *_ = [*line.split("\t"), "", ""]
        if name not in present or name in files:
            found = f"{name!r} on line {number}"
            raise refusal(where, field, found, "an image of val/images, named once")
        if wnid not in label_of:
            found = f"{wnid!r} on line {number}"
            raise refusal(where, field, found, "one of the wnids of train/")
        files[name] = val / "images" / name
        labels.append(label_of[wnid])
    if len(files) != len(present):
        missing = min(present.difference(files))
        found = f"{len(present) - len(files)} images without a line, such as {missing}"
        raise refusal(where, field, found, "one line for each image of val/images")
    return list(files.values()), labels


def _decode(files: list[Path]) -> np.ndarray:
    encoded = ((str(file), file) for file in files)
    return decode_images(encoded, len(files), channels=3, shape=_SHAPE)


def _names(where: str, words: Path, wnids: list[str]) -> tuple[str, ...]:
    if not words.is_file():
        return tuple(wnids)
    lines = (line.split("\t") for line in _text(where, words).splitlines())
    name_of = {fields[0]: fields[1].split(",")[0] for fields in lines if len(fields) > 1}
    return tuple(name_of.get(wnid, wnid) for wnid in wnids)
