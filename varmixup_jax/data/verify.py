"""Checks a data source and prints a table: `varmixup data verify tfds:cifar10`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from varmixup_jax.data.dataset import Dataset
from varmixup_jax.data.sources import load

DESCRIPTION = """Reads and checks a data set; prints its splits, classes, mean, std and fingerprint.

examples:
  varmixup data verify digits
  varmixup data verify tfds:cifar10 --val-fraction=0.1
  varmixup data verify npz:my_images.npz"""


def describe(dataset: Dataset) -> str:
    """A table of the splits, then classes, channel statistics and fingerprint.

    Args:
      dataset: any.

    Returns:
      Lines of text.
    """
    line = "{:<6} {:>7}  {:<10} {:>7}  {}"
    lines = [line.format("split", "images", "shape", "classes", "images/class")]
    for split in ("train", "val", "test"):
        images = getattr(dataset, f"{split}_images")
        counts = np.bincount(getattr(dataset, f"{split}_labels"), minlength=dataset.num_classes)
        low, high = counts.min(), counts.max()
        per_class = f"{low}" if low == high else f"{low} to {high}"
        shape = "x".join(map(str, images.shape[1:]))
        lines.append(line.format(split, len(images), shape, np.count_nonzero(counts), per_class))
    mean, std = (", ".join(f"{x:.4f}" for x in each) for each in dataset.channel_stats())
    shown = ", ".join(dataset.label_names[:10])
    more = ", ..." if dataset.num_classes > 10 else ""
    facts = {"classes": shown + more, "mean": mean, "std": std, "fingerprint": dataset.fingerprint}
    return "\n".join([*lines, *(f"{name:<12} {fact}" for name, fact in facts.items())])


def parser() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(
        prog="varmixup data verify",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="digits, tfds:<name>, tiny_imagenet or npz:<path>")
    parser.add_argument("--data-dir", help="as in the configuration")
    parser.add_argument("--val-fraction", type=float, default=0.0, help="default: %(default)s")
    parser.add_argument("--split-seed", type=int, default=0, help="default: %(default)s")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status: 0, or 2 after one line on the standard error."""
    options = parser().parse_args(arguments)
    try:
        dataset = load(
            options.source,
            data_dir=options.data_dir,
            val_fraction=options.val_fraction,
            split_seed=options.split_seed,
        )
        print(describe(dataset))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
