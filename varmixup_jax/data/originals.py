"""The data sets that are made from their original archives, and how these are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from varmixup_jax.data.archives import Arrays, read_cifar, read_svhn


class Original(NamedTuple):
    """A data set that `varmixup_jax.data.prepare` makes without TensorFlow.

    Attributes:
      version: of the TFDS set that holds the same images.
      files: the original files, of `published.txt`, in the order `read` takes them.
      read: files to arrays.
    """

    version: str
    files: tuple[str, ...]
    read: Callable[[Sequence[Path]], Arrays]


ORIGINALS: dict[str, Original] = {
    "cifar10": Original(  # Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images
        "3.0.2",
        ("cifar-10-binary.tar.gz",),
        partial(
            read_cifar,
            folder="cifar-10-batches-bin",
            members={
                "train": [f"data_batch_{number}.bin" for number in range(1, 6)],
                "test": ["test_batch.bin"],
            },
            names="batches.meta.txt",
            label_bytes=1,
        ),
    ),
    "cifar100": Original(  # the same; of its two labels the fine one
        "3.0.2",
        ("cifar-100-binary.tar.gz",),
        partial(
            read_cifar,
            folder="cifar-100-binary",
            members={"train": ["train.bin"], "test": ["test.bin"]},
            names="fine_label_names.txt",
            label_bytes=2,
        ),
    ),
    # Netzer et al. 2011, Reading Digits in Natural Images; without the 531,131 `extra` images.
    "svhn_cropped": Original("3.1.0", ("train_32x32.mat", "test_32x32.mat"), read_svhn),
}
