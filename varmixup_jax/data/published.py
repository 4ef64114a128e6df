"""Files published by others: their hashes and URLs in `published.txt`, read by pooch."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

# Imported where it is used: it is slow to import, and prepared data do not need it.
if TYPE_CHECKING:
    import pooch

CORRUPTED = {  # the sets of corrupted images whose md5 sums are known, by their clean set
    "cifar10": ["CIFAR-10-C/{}.npy"],
    "cifar100": ["CIFAR-100-C/{}.npy"],
    "tiny_imagenet": ["Tiny-ImageNet-C.tar", "Tiny-ImageNet-C-extra.tar"],
}


@functools.cache
def published() -> pooch.Pooch:
    """All that `published.txt` lists: `registry` has the hashes by name, `urls` the URLs."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    found = pooch.create(path="", base_url="")
    found.load_registry(Path(__file__).with_name("published.txt"))
    return found


def check_hash(file: Path, *names: str) -> None:
    """Reads a file and compares its hash with the published one.

    Args:
      file: the file to read.
      names: the entries of `published.txt` that it may be.

    Raises:
      ValueError: no hash matches; the message has the file, its hash and the expected ones.
    """
    import pooch

    known = [published().registry[name].partition(":") for name in names]
    algorithm = known[0][0]
    found = pooch.file_hash(str(file), alg=algorithm)
    expected = [digest for _, _, digest in known]
    if found not in expected:
        raise ValueError(f"{file}: found {algorithm} {found}, expected {' or '.join(expected)}")
