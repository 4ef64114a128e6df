"""The files that others publish: their hashes and addresses, `published.txt`, as pooch reads them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

# Imported where it is used: it takes a while, and prepared data need none of it.
if TYPE_CHECKING:
    import pooch

CORRUPTED = {  # the sets of corrupted images whose md5 sums are known, by their clean set
    "cifar10": ["CIFAR-10-C/{}.npy"],
    "cifar100": ["CIFAR-100-C/{}.npy"],
    "tiny_imagenet": ["Tiny-ImageNet-C.tar", "Tiny-ImageNet-C-extra.tar"],
}


@functools.cache
def published() -> pooch.Pooch:
    """All that `published.txt` lists: `registry` has the hashes by name, `urls` the addresses."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    found = pooch.create(path="", base_url="")
    found.load_registry(Path(__file__).with_name("published.txt"))
    return found


def check_hash(file: Path, *names: str) -> None:
    """Reads a file and compares its hash with the published one.

    Args:
      file: to read.
      names: what it may be of `published.txt`.

    Raises:
      ValueError: its hash is none of theirs; the message has the file, the hash and the expected ones.
    """
    import pooch

    known = [published().registry[name].partition(":") for name in names]
    algorithm = known[0][0]
    found = pooch.file_hash(str(file), alg=algorithm)
    expected = [digest for _, _, digest in known]
    if found not in expected:
        raise ValueError(f"{file}: found {algorithm} {found}, expected {' or '.join(expected)}")
