"""Where the original archives of four data sets are, what they weigh, and how they are read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from varmixup_jax.data.archives import Contents, read_cifar, read_idx_pairs, read_svhn

_CIFAR = "https://www.cs.toronto.edu/~kriz/"
_SVHN = "http://ufldl.stanford.edu/housenumbers/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"


class File(NamedTuple):
    """One original file.

    Attributes:
      url: its official address.
      size: in bytes.
      sha256: hex digest, as TFDS registers it; it makes plain http safe.
    """

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[-1]


class Original(NamedTuple):
    """A data set that `varmixup_jax.data.prepare` makes without TensorFlow.

    Attributes:
      version: of the TFDS builder whose layout is written.
      files: the original files, in the order `read` takes them.
      read: files to contents.
      id_digits: digits of the row number in the feature `id` (`train_00042`); 0 for no `id`.
      citation: authors, year, title.
    """

    version: str
    files: tuple[File, ...]
    read: Callable[[Sequence[Path]], Contents]
    id_digits: int
    citation: str


ORIGINALS: dict[str, Original] = {
    "cifar10": Original(
        version="3.0.2",
        files=(
            File(
                _CIFAR + "cifar-10-binary.tar.gz",
                170052171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        read=functools.partial(
            read_cifar,
            folder="cifar-10-batches-bin",
            members={
                "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
                "test": ("test_batch.bin",),
            },
            name_lists={"label": "batches.meta.txt"},
        ),
        id_digits=5,
        citation="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    ),
    "cifar100": Original(
        version="3.0.2",
        files=(
            File(
                _CIFAR + "cifar-100-binary.tar.gz",
                168513733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ),
        ),
        read=functools.partial(
            read_cifar,
            folder="cifar-100-binary",
            members={"train": ("train.bin",), "test": ("test.bin",)},
            name_lists={
                "coarse_label": "coarse_label_names.txt",
                "label": "fine_label_names.txt",
            },
        ),
        id_digits=5,
        citation="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    ),
    "svhn_cropped": Original(
        # TFDS also has the split `extra` (531,131 easier images, 1.3 GB), which nothing here reads.
        version="3.1.0",
        files=(
            File(
                _SVHN + "train_32x32.mat",
                182040794,
                "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            ),
            File(
                _SVHN + "test_32x32.mat",
                64275384,
                "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            ),
        ),
        read=read_svhn,
        id_digits=6,
        citation="Netzer et al. 2011, Reading Digits in Natural Images",
    ),
    "fashion_mnist": Original(
        version="3.0.1",
        files=(
            File(
                _FASHION + "train-images-idx3-ubyte.gz",
                26421880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            File(
                _FASHION + "train-labels-idx1-ubyte.gz",
                29515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            File(
                _FASHION + "t10k-images-idx3-ubyte.gz",
                4422102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            File(
                _FASHION + "t10k-labels-idx1-ubyte.gz",
                5148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
        read=functools.partial(
            read_idx_pairs,
            names=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
        ),
        id_digits=0,
        citation="Xiao, Rasul and Vollgraf 2017, Fashion-MNIST",
    ),
}
