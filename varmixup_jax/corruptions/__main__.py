"""Writes a CIFAR-10-C style directory of any images: `varmixup corrupt`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from varmixup_jax.atomic_files import user_path
from varmixup_jax.corruptions.apply import EXTRA, FUNCTIONS, NAMES
from varmixup_jax.corruptions.clean_set import read_clean_set
from varmixup_jax.corruptions.make import make
from varmixup_jax.corruptions.photographs import load_textures
from varmixup_jax.corruptions.severity_tables import TABLES, table_for

DESCRIPTION = """Writes a CIFAR-10-C style directory: NAME.npy for every corruption, and labels.npy.

examples:
  varmixup corrupt --out=DIR --images=test.npz
  varmixup corrupt --out=DIR --images=x.npy --labels=y.npy
  varmixup corrupt --out=DIR --images=FOLDER    # FOLDER/CLASS/*.png or *.jpg"""


def parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="varmixup corrupt",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=["make"], help=argparse.SUPPRESS)
    parser.add_argument(
        "--out", metavar="DIR", type=user_path, required=True, help="directory to write"
    )
    parser.add_argument(
        "--images", metavar="PATH", type=user_path, required=True, help=".npz, .npy or a folder"
    )
    parser.add_argument("--labels", metavar="FILE", type=user_path, help=".npy, with .npy images")
    parser.add_argument(
        "--names",
        nargs="+",
        metavar="NAME",
        choices=FUNCTIONS,
        default=[*NAMES, *EXTRA],
        help=f"of {', '.join(FUNCTIONS)}; default: all",
    )
    parser.add_argument("--table", choices=TABLES, help="severities; default: by the images' size")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch_size", type=int, default=1000, help="images per step")
    parser.add_argument(
        "--frost_dir",
        default="",
        help="holds frost1.png ..., or imagecorruptions, or synthetic; default: the photographs of "
        "the imagecorruptions package where it is installed, else synthetic",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, or 2 after one line on the standard error."""
    args = parser().parse_args(arguments)
    try:
        clean = read_clean_set(args.images, args.labels)
        size = clean.images.shape[1] if clean.images.ndim > 1 else 0
        table = args.table or table_for(size)
        textures = load_textures(args.frost_dir, table=table, size=size)
        if clean.left_out:
            counts = ", ".join(f"{count} {suffix}" for suffix, count in clean.left_out.items())
            print(f"left out of {args.images}: {counts}", file=sys.stderr)
        make(
            args.out,
            clean.images,
            clean.labels,
            args.names,
            classes=clean.classes,
            table=table,
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
