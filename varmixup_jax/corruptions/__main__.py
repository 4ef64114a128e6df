"""`python -m varmixup_jax.corruptions make --out DIR --images FILE`: a CIFAR-10-C style directory.

python -m varmixup_jax.corruptions make --out DIR --images test.npz
python -m varmixup_jax.corruptions make --out DIR --images x.npy --labels y.npy
python -m varmixup_jax.corruptions make --out DIR --images FOLDER   # <class>/*.png or *.jpg
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from varmixup_jax.corruptions.frost import load_textures
from varmixup_jax.corruptions.make import make
from varmixup_jax.corruptions.registry import EXTRA, FUNCTIONS, NAMES
from varmixup_jax.corruptions.tables import TABLES

IMAGE_FIELDS = ("images", "x", "x_test", "test_images", "data")
LABEL_FIELDS = ("labels", "y", "y_test", "test_labels", "targets")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def read_arrays(images: Path, labels: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Reads a data set from .npz, from .npy and .npy, or from a folder of classes.

    Args:
      images: `.npz` with images and labels, `.npy` of images, or a folder `<class>/<image>`.
      labels: `.npy` of labels; needed with `.npy` images only.

    Returns:
      images as stored, and labels `[N]`; a folder's label is the index in its sorted class names.

    Raises:
      ValueError: missing file, field or image.
    """
    if images.is_dir():
        return _read_folder(images)
    if not images.is_file():
        raise ValueError(f"--images = {str(images)!r}: must be a .npz or .npy file, or a folder")
    loaded = np.load(images, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        if labels is None:
            raise ValueError("--labels: must be given with .npy images")
        return loaded, np.load(labels, allow_pickle=False).reshape(-1)
    picked = []
    for flag, fields in (("images", IMAGE_FIELDS), ("labels", LABEL_FIELDS)):
        present = [field for field in fields if field in loaded.files]
        if not present:
            raise ValueError(
                f"{images}: has fields {', '.join(loaded.files)}, must have {flag} under one of "
                f"{', '.join(fields)}"
            )
        picked.append(loaded[present[0]])
    return picked[0], picked[1].reshape(-1)


def _read_folder(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    pictures, labels = [], []
    for label, name in enumerate(classes):
        for file in sorted((folder / name).iterdir()):
            if file.suffix.lower() in SUFFIXES:
                with Image.open(file) as picture:
                    pictures.append(np.asarray(picture.convert("RGB")))
                labels.append(label)
    sizes = {picture.shape for picture in pictures}
    if len(sizes) != 1:
        raise ValueError(
            f"--images = {str(folder)!r}: has images of {len(sizes)} sizes, must be of one size"
        )
    return np.stack(pictures), np.array(labels)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, or 1 after one line on the standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m varmixup_jax.corruptions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command = parser.add_subparsers(dest="command", required=True).add_parser(
        "make", help="write <name>.npy and labels.npy for every corruption"
    )
    command.add_argument("--out", type=Path, required=True, help="directory to write")
    command.add_argument("--images", type=Path, required=True, help=".npz, .npy or a folder")
    command.add_argument("--labels", type=Path, help=".npy, with .npy images")
    command.add_argument("--names", nargs="+", choices=FUNCTIONS, default=[*NAMES, *EXTRA])
    command.add_argument("--table", choices=TABLES, default="cifar", help="severities")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--batch_size", type=int, default=1000, help="images per step")
    command.add_argument(
        "--frost_dir",
        type=Path,
        help="holds frost1.png ...; default: in the imagecorruptions package, else procedural",
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
    except (ValueError, TypeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
