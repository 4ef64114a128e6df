"""Finds prepared TFDS data sets by looking at folders only, never by a download."""

from __future__ import annotations

import os
import re
from pathlib import Path

from varmixup_jax import checks
from varmixup_jax.atomic_files import loads
from varmixup_jax.data.archives import ORIGINALS

_REQUEST = re.compile(r"(\w+)(?:/(\w[\w.\-]*))?(?::(\d+\.\d+\.\d+))?", re.ASCII)
_VERSION = re.compile(r"\d+\.\d+\.\d+", re.ASCII)
_METADATA = ("dataset_info.json", "features.json")


def data_root(data_dir: str | None) -> Path:
    """The directory of prepared sets: `data_dir`, `$TFDS_DATA_DIR` or `~/tensorflow_datasets`."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(os.path.expanduser(chosen))


def parse_request(request: str) -> tuple[str, str | None, str | None]:
    """Splits `name[/config][:version]`.

    Args:
      request: such as `cifar10`, `cifar10:3.0.2` or `imagenet_resized/32x32`.

    Returns:
      `(name, config, version)`, the latter two None where not given.

    Raises:
      ValueError: if the request has another form.

    Example:
      >>> parse_request("imagenet_resized/32x32:0.1.0")
      ('imagenet_resized', '32x32', '0.1.0')
    """
    match = _REQUEST.fullmatch(request)
    if not match:
        raise ValueError(
            f"source = {checks.shown('tfds:' + request)}: must be tfds:<name>, tfds:<name>/<config> or "
            "tfds:<name>:<version> such as tfds:cifar10:3.0.2"
        )
    return match[1], match[2], match[3]


def find_archive(request: str, data_dir: str | None) -> Path | None:
    """`<root>/<name>.npz`, made from the original files; None if it does not exist or match.

    Args:
      request: `name[/config][:version]`; a set that TFDS has prepared takes precedence.
      data_dir: the root, see `data_root`.
    """
    name, config, version = parse_request(request)
    root = data_root(data_dir)
    own = name in ORIGINALS and not config and version in (None, ORIGINALS[name].version)
    archive = root / f"{name}.npz"
    return archive if own and archive.is_file() and not version_folders(root / name) else None


def find_prepared(request: str, data_dir: str | None) -> Path:
    """The folder of a prepared data set: `<root>/<name>[/<config>]/<version>`, the latest version.

    Args:
      request: `name[/config][:version]`.
      data_dir: the root, see `data_root`.

    Returns:
      The folder; it has TFDS's metadata files and its data is in array_record format.

    Raises:
      ValueError: if there is none (with the command that prepares it), there are several configs
        and `request` names none, or the data is in another file format.
    """
    name, config, version = parse_request(request)
    root, where = data_root(data_dir), f"tfds:{request}"
    found: dict[Path, str | None] = dict.fromkeys(version_folders(root / name))
    for folder in sorted((root / name).glob("*/")):
        found |= dict.fromkeys(version_folders(folder), folder.name)
    chosen = [
        path
        for path, its_config in found.items()
        if config in (None, its_config) and version in (None, path.name)
    ]
    if not chosen:
        there = sorted({path.parent.name for path in root.glob("*/*/") if _is_prepared(path)})
        empty = [path for path in root.glob(f"{name}/**/*/") if _VERSION.fullmatch(path.name)]
        unfinished = f"; {empty[0]} is unfinished, delete it" if empty else ""
        others = f" (prepared there: {', '.join(there)})" if there else ""
        option = f" --data-dir {root}" if data_dir else ""
        raise ValueError(
            f"{where}: not prepared in {root}{others}; prepare it with: "
            f"python -m varmixup_jax.data.prepare {request}{option}{unfinished}"
        )
    configs = sorted({f"tfds:{name}/{found[path]}" for path in chosen})
    if len(configs) > 1:
        text = f"several configs in {root / name}, must be one of {', '.join(configs)}"
        raise ValueError(f"{where}: {text}")
    latest = max(chosen, key=_number)
    _check_format(where, latest)
    return latest


def version_folders(folder: Path) -> list[Path]:
    """The prepared versions in a folder, the latest last; empty ones are skipped."""
    return sorted((path for path in folder.glob("*/") if _is_prepared(path)), key=_number)


def _number(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.name.split("."))


def _is_prepared(path: Path) -> bool:
    is_version = _VERSION.fullmatch(path.name) is not None
    return is_version and all((path / file).is_file() for file in _METADATA)


def _check_format(where: str, folder: Path) -> None:
    file = folder / _METADATA[0]
    try:
        info = loads(file.read_text(encoding="utf-8"))
        formats = [str(info["fileFormat"]), *map(str, info.get("alternativeFileFormats", []))]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{file}: not TFDS metadata with a field fileFormat, it may be truncated"
        ) from error
    if "array_record" not in formats:
        raise ValueError(
            f"{where}: {file}: field fileFormat: {', '.join(formats)}, must be array_record (TFDS "
            "writes it with file_format='array_record'; other formats need TensorFlow to be read)"
        )
