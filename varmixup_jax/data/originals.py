"""Where the original archives of four data sets are, their sha256, and how they are read."""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from varmixup_jax.data.archives import Arrays, read_cifar, read_idx_pairs, read_svhn

_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_SVHN = "http://ufldl.stanford.edu/housenumbers/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_CLOTHES = "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle_boot"


class Original(NamedTuple):
    """A data set that `varmixup_jax.data.prepare` makes without TensorFlow.

    Attributes:
      version: of the TFDS set that holds the same images.
      files: sha256 of each original file by its official address, in the order `read` takes them;
        as TFDS registers them. They make plain http safe.
      read: files to arrays.
    """

    version: str
    files: Mapping[str, str]
    read: Callable[[Sequence[Path]], Arrays]


def _at(address: str, files: Mapping[str, str]) -> dict[str, str]:
    return {address + name: sha256 for name, sha256 in files.items()}


ORIGINALS: dict[str, Original] = {
    "cifar10": Original(  # Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images
        "3.0.2",
        _at(
            _CIFAR,
            {
                "cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
            },
        ),
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
        _at(
            _CIFAR,
            {
                "cifar-100-binary.tar.gz": "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
            },
        ),
        partial(
            read_cifar,
            folder="cifar-100-binary",
            members={"train": ["train.bin"], "test": ["test.bin"]},
            names="fine_label_names.txt",
            label_bytes=2,
        ),
    ),
    # Netzer et al. 2011, Reading Digits in Natural Images; without the 531,131 `extra` images.
    "svhn_cropped": Original(
        "3.1.0",
        _at(
            _SVHN,
            {
                "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
                "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            },
        ),
        read_svhn,
    ),
    "fashion_mnist": Original(  # Xiao, Rasul and Vollgraf 2017, Fashion-MNIST
        "3.0.1",
        _at(
            _FASHION,
            {
                "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            },
        ),
        partial(read_idx_pairs, names=tuple(name.replace("_", " ") for name in _CLOTHES.split())),
    ),
}
