"""Downloads and prepares a data set: `varmixup data prepare cifar10`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from varmixup_jax.data import download
from varmixup_jax.data.originals import ORIGINALS, Original
from varmixup_jax.data.prepared import data_root, find_prepared, parse_request

DESCRIPTION = """Downloads and prepares a data set, once. cifar10, cifar100, svhn_cropped and
fashion_mnist are made from their original archives without TensorFlow. Any other TFDS set is prepared
by TFDS itself, which needs TensorFlow once.

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
      origin: the original archive, or a folder with the original files under their own names, in
        place of a download.
      check_originals: whether the files of `origin` must have the known sizes and SHA-256 digests.

    Returns:
      The prepared folder. One that is already there is left as it is.

    Raises:
      ValueError: if the name needs no preparation or none is possible here (saying what to do), a
        download fails, or an original file is not what it must be.
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
    folder = root / name / original.version
    if folder.is_dir():
        return find_prepared(f"{name}:{original.version}", str(root))
    if origin is None:
        downloads = root / "downloads" / name
        files = [download.fetch(file, downloads) for file in original.files]
    else:
        files = _local_files(name, original, Path(os.path.expanduser(origin)))
        if check_originals:
            for path, file in zip(files, original.files, strict=True):
                download.verify(path, file)
    contents = original.read(files)
    # Imported here, when the archives have turned out to be good: it takes half a second.
    from varmixup_jax.data.writer import write_prepared

    return write_prepared(
        name,
        original.version,
        contents,
        root,
        id_digits=original.id_digits,
        citation=original.citation,
    )


def _local_files(name: str, original: Original, origin: Path) -> list[Path]:
    if origin.is_file() and len(original.files) == 1:
        return [origin]
    files = [origin / file.name for file in original.files]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ValueError(f"{origin}: no {', '.join(missing)}: the original files of {name}")
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
