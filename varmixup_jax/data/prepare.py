"""Downloads and prepares a data set: `varmixup data prepare cifar10`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from varmixup_jax.atomic_files import replacing
from varmixup_jax.checks import reason
from varmixup_jax.data.archives import ORIGINALS, Original
from varmixup_jax.data.prepared import data_root, find_prepared, parse_request, version_folders
from varmixup_jax.data.published import check_hash, published

_TIMEOUT = 30  # seconds without an answer before giving up

DESCRIPTION = """Downloads and prepares a data set, once. cifar10, cifar100 and svhn_cropped are
made from their original archives without TensorFlow. Any other TFDS set is prepared by TFDS itself,
which needs TensorFlow once.

examples:
  varmixup data prepare cifar10
  varmixup data prepare svhn_cropped --data-dir=/shared/tfds --from=downloads"""


def prepare(
    request: str,
    *,
    data_dir: str | None = None,
    origin: str | None = None,
    check_originals: bool = True,
) -> Path:
    """Makes a data set readable as `tfds:<request>`.

    Args:
      request: the name of a TFDS data set, `name[/config][:version]`.
      data_dir: the directory of prepared sets; None for `$TFDS_DATA_DIR`, else
        `~/tensorflow_datasets`.
      origin: the original archive, or a folder with the original files under their own names,
        instead of a download.
      check_originals: whether the files of `origin` must have the known SHA-256 digests.

    Returns:
      `<data_dir>/<name>.npz`, or the folder that TFDS prepared. What already exists is not changed.

    Raises:
      ValueError: if the name needs no preparation or none is possible here (the message says what to
        do), a download fails, or an original file is not what it must be.
    """
    if request == "digits" or request.startswith("npz:"):
        raise ValueError(f"{request}: needs no preparation")
    if request == "tiny_imagenet":
        raise ValueError(
            "tiny_imagenet: is read as distributed; unpack "
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip and give its folder as data_dir"
        )
    name, config, version = parse_request(request)
    root = data_root(data_dir)
    original = ORIGINALS.get(name)
    if original is None or config or version not in (None, original.version):
        if origin is not None:
            raise ValueError(
                f"{request}: --from is for {', '.join(ORIGINALS)} at their own version"
            )
        return _prepare_by_tfds(request, root)
    there = root / name / original.version
    if there in version_folders(root / name):  # by TFDS, or by an older version of this package
        return find_prepared(f"{name}:{original.version}", str(root))
    target = root / f"{name}.npz"
    if target.exists():
        return target
    if origin is None:
        files = [_fetched(file, root / "downloads" / name) for file in original.files]
    else:
        files = _local_files(name, original, Path(os.path.expanduser(origin)), check_originals)
    arrays = original.read(files)
    with replacing(target) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return target


def _fetched(name: str, folder: Path) -> Path:
    """A published file, downloaded into a folder unless it is there already."""
    import pooch

    url, sha256 = published().urls[name], published().registry[name]
    if not (folder / name).exists():
        print(f"downloading {url}", file=sys.stderr, flush=True)
    download = pooch.HTTPDownloader(timeout=_TIMEOUT)
    try:
        return Path(pooch.retrieve(url, sha256, name, folder, downloader=download))
    except (OSError, ValueError) as error:  # those of requests are OSErrors
        raise ValueError(
            f"{url}: no download ({reason(error)}); fetch it elsewhere and give "
            "--from FILE_OR_FOLDER"
        ) from error


def _local_files(name: str, original: Original, origin: Path, check: bool) -> list[Path]:
    alone = origin.is_file() and len(original.files) == 1
    files = [origin] if alone else [origin / each for each in original.files]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ValueError(f"{origin}: no {', '.join(missing)}: the original files of {name}")
    for file, published_name in zip(files, original.files, strict=True) if check else ():
        check_hash(file, published_name)
    return files


def _prepare_by_tfds(request: str, root: Path) -> Path:
    if importlib.util.find_spec("tensorflow") is None:
        raise ValueError(
            f"{request}: TFDS needs TensorFlow to prepare it, once: pip install tensorflow; "
            f"without it there are {', '.join(ORIGINALS)}"
        )
    import tensorflow_datasets as tfds

    builder = tfds.builder(request, data_dir=str(root), file_format="array_record")
    builder.download_and_prepare()
    return Path(builder.data_dir)


def parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="varmixup data prepare",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help=f"{', '.join(ORIGINALS)}, or any TFDS data set")
    parser.add_argument(
        "--data-dir", help="of prepared sets (default: $TFDS_DATA_DIR or ~/tensorflow_datasets)"
    )
    parser.add_argument(
        "--from",
        "--archive",
        dest="origin",
        help="an original archive, or a folder of original files, already downloaded",
    )
    parser.add_argument(
        "--no-checksum",
        action="store_true",
        help="accept other files of the same format from --from (a subset, for example)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, or 2 after one line on the standard error."""
    options = parser().parse_args(arguments)
    try:
        folder = prepare(
            options.name.removeprefix("tfds:"),
            data_dir=options.data_dir,
            origin=options.origin,
            check_originals=not options.no_checksum,
        )
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"prepared in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
