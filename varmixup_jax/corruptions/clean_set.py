"""The images that `corruptions make` corrupts: from .npz, from two .npy files, or class folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from varmixup_jax.checks import reason
from varmixup_jax.image_files import SUFFIXES, decode_image

FIELDS = {
    "images": ("images", "x", "x_test", "test_images", "data"),
    "labels": ("labels", "y", "y_test", "test_labels", "targets"),
}
NAMES = {"classes": ("label_names", "class_names", "classes")}
SYSTEM = (".", "__", "@", "$")
"""Folders and files whose names begin like this belong to the system or a tool and are not data."""


class CleanSet(NamedTuple):
    """Labelled images.

    Attributes:
      images: as stored, `[N, S, S, C]` or `[N, S, S]`.
      labels: `[N]`.
      classes: the name of each class, () if they are not known.
      left_out: number of files in class folders skipped as not being images, by suffix.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...] = ()
    left_out: Mapping[str, int] = {}


def read_clean_set(images: Path, labels: Path | None) -> CleanSet:
    """Reads a labelled set.

    Args:
      images: `.npz` with images and labels, `.npy` of images, or a folder `<class>/<image>`. Folders
        are classes in the order of their names, numerically if all are whole numbers; images are grey
        if all files are.
      labels: `.npy` of labels; needed with `.npy` images only.

    Raises:
      ValueError: missing or damaged file, missing field or image.
    """
    if images.is_dir():
        return _read_folder(images)
    if not images.is_file():
        raise ValueError(f"--images = {str(images)!r}: must be a .npz or .npy file, or a folder")
    loaded = _load(images, FIELDS, NAMES)
    if isinstance(loaded, dict):
        classes = tuple(map(str, loaded["classes"].reshape(-1))) if "classes" in loaded else ()
        return CleanSet(loaded["images"], loaded["labels"].reshape(-1), classes)
    if labels is None:
        raise ValueError("--labels: must be given with .npy images")
    if not labels.is_file():
        raise ValueError(f"--labels = {str(labels)!r}: must be a .npy file")
    found = _load(labels, {"labels": FIELDS["labels"]})
    return CleanSet(loaded, (found["labels"] if isinstance(found, dict) else found).reshape(-1))


def read_images(images: Path) -> np.ndarray:
    """Only the images of a file or folder that `read_clean_set` reads; labels may be missing."""
    if images.is_dir():
        return _read_folder(images).images
    loaded = _load(images, {"images": FIELDS["images"]})
    return loaded["images"] if isinstance(loaded, dict) else loaded


def _load(
    file: Path,
    wanted: Mapping[str, Sequence[str]],
    optional: Mapping[str, Sequence[str]] | None = None,
) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a .npy file, or from a .npz file one array per choice of field names."""
    choices = {**wanted, **(optional or {})}
    try:
        # Opened here: np.load leaves a file open if it is not a whole archive.
        with file.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            found = {
                what: loaded[field]
                for what, fields in choices.items()
                for field in fields[::-1]
                if field in loaded.files
            }
    except Exception as error:  # np.load documents no set of errors for damaged files
        text = reason(error)
        raise ValueError(f"{file}: not a readable .npz or .npy file ({text})") from error
    for what, fields in wanted.items():
        if not isinstance(found.get(what), np.ndarray):
            raise ValueError(
                f"{file}: has fields {', '.join(loaded.files)}, must have {what} under one of "
                f"{', '.join(fields)}"
            )
    return found


def _read_folder(folder: Path) -> CleanSet:
    classes = [path.name for path in _visible(folder) if path.is_dir()]
    if all(name.isdecimal() for name in classes):
        classes.sort(key=int)  # as text, 10 would come before 2
    pictures: list[np.ndarray] = []
    labels, left_out = [], Counter[str]()
    for label, name in enumerate(classes):
        before = len(pictures)
        for file in _visible(folder / name):
            if file.suffix.lower() not in SUFFIXES:
                left_out[file.suffix.lower() or file.name] += 1
                continue
            try:
                pictures.append(decode_image(file, channels=None))
            except OSError as error:
                raise ValueError(f"{file}: {error}") from error
            labels.append(label)
        if len(pictures) == before:
            raise ValueError(
                f"--images = {str(folder)!r}: class {name!r} has no image, must have some "
                f"({', '.join(SUFFIXES)})"
            )
    sizes = sorted({picture.shape[:2] for picture in pictures})
    if len(sizes) != 1:
        found = f"sizes {sizes[0]} to {sizes[-1]}" if sizes else "no class"
        raise ValueError(
            f"--images = {str(folder)!r}: has {found}, must be folders of images of one size"
        )
    if len({picture.shape for picture in pictures}) > 1:  # some are grey
        pictures = [np.broadcast_to(picture, (*sizes[0], 3)) for picture in pictures]
    return CleanSet(np.stack(pictures), np.array(labels), tuple(classes), left_out)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(SYSTEM))
