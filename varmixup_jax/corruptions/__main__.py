"""Writes a CIFAR-10-C style directory of any images: `varmixup corrupt`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from varmixup_jax.checks import reason
from varmixup_jax.corruptions.apply import EXTRA, FUNCTIONS, NAMES
from varmixup_jax.corruptions.make import make
from varmixup_jax.corruptions.photographs import load_textures
from varmixup_jax.corruptions.tables import TABLES

DESCRIPTION = """Writes a CIFAR-10-C style directory: NAME.npy for every corruption, and labels.npy.

examples:
  varmixup corrupt --out=DIR --images=test.npz
  varmixup corrupt --out=DIR --images=x.npy --labels=y.npy
  varmixup corrupt --out=DIR --images=FOLDER    # FOLDER/CLASS/*.png or *.jpg"""

FIELDS = {
    "images": ("images", "x", "x_test", "test_images", "data"),
    "labels": ("labels", "y", "y_test", "test_labels", "targets"),
}
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def read_arrays(images: Path, labels: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Reads a data set from .npz, from .npy and .npy, or from a folder of classes.

    Args:
      images: `.npz` with images and labels, `.npy` of images, or a folder `<class>/<image>`.
      labels: `.npy` of labels; needed with `.npy` images only.

    Returns:
      images as stored, and labels `[N]`; a folder's label is the index in its sorted class names.

    Raises:
      ValueError: missing or damaged file, missing field or image.
    """
    if images.is_dir():
        return _read_folder(images)
    if not images.is_file():
        raise ValueError(f"--images = {str(images)!r}: must be a .npz or .npy file, or a folder")
    loaded = _load(images, FIELDS)
    if isinstance(loaded, list):
        return loaded[0], loaded[1].reshape(-1)
    if labels is None:
        raise ValueError("--labels: must be given with .npy images")
    if not labels.is_file():
        raise ValueError(f"--labels = {str(labels)!r}: must be a .npy file")
    found = _load(labels, {"labels": FIELDS["labels"]})
    return loaded, (found[0] if isinstance(found, list) else found).reshape(-1)


def _load(file: Path, wanted: Mapping[str, Sequence[str]]) -> np.ndarray | list[np.ndarray]:
    """The array of a .npy file, or of a .npz file one array for each choice of field names."""
    try:
        # Opened here: np.load leaves a file open if it is not a whole archive.
        with file.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            names = [
                next((f for f in fields if f in loaded.files), None) for fields in wanted.values()
            ]
            arrays = [None if name is None else loaded[name] for name in names]
    except Exception as error:  # np.load documents no set of errors for damaged files
        text = reason(error)
        raise ValueError(f"{file}: not a readable .npz or .npy file ({text})") from error
    found = []
    for (what, fields), array in zip(wanted.items(), arrays, strict=True):
        if not isinstance(array, np.ndarray):
            raise ValueError(
                f"{file}: has fields {', '.join(loaded.files)}, must have {what} under one of "
                f"{', '.join(fields)}"
            )
        found.append(array)
    return found


def _read_folder(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    pictures, labels = [], []
    for label, name in enumerate(classes):
        for file in sorted((folder / name).iterdir()):
            if file.suffix.lower() in SUFFIXES:
                try:
                    with Image.open(file) as picture:
                        pictures.append(np.asarray(picture.convert("RGB")))
                except Exception as error:  # Pillow raises many kinds for a damaged image
                    raise ValueError(f"{file}: damaged, must be an image") from error
                labels.append(label)
    sizes = {picture.shape for picture in pictures}
    if len(sizes) != 1:
        raise ValueError(
            f"--images = {str(folder)!r}: has images of {len(sizes)} sizes, must be of one size"
        )
    return np.stack(pictures), np.array(labels)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, or 2 after one line on the standard error."""
    parser = argparse.ArgumentParser(
        prog="varmixup corrupt",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=["make"], help=argparse.SUPPRESS)
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="directory to write")
    parser.add_argument(
        "--images", metavar="PATH", type=Path, required=True, help=".npz, .npy or a folder"
    )
    parser.add_argument("--labels", metavar="FILE", type=Path, help=".npy, with .npy images")
    parser.add_argument(
        "--names",
        nargs="+",
        metavar="NAME",
        choices=FUNCTIONS,
        default=[*NAMES, *EXTRA],
        help=f"of {', '.join(FUNCTIONS)}; default: all",
    )
    parser.add_argument("--table", choices=TABLES, default="cifar", help="severities")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch_size", type=int, default=1000, help="images per step")
    parser.add_argument(
        "--frost_dir",
        default="",
        help="holds frost1.png ..., or imagecorruptions, or synthetic; default: the photographs of "
        "the imagecorruptions package where it is installed, else synthetic",
    )
    args = parser.parse_args(arguments)
    try:
        images, labels = read_arrays(args.images, args.labels)
        size = images.shape[1] if images.ndim > 1 else 0
        textures = load_textures(args.frost_dir, table=args.table, size=size)
        make(
            args.out,
            images,
            labels,
            args.names,
            table=args.table,
            seed=args.seed,
            batch_size=args.batch_size,
            frost_textures=textures,
            report=print,
        )
    except (ValueError, TypeError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
