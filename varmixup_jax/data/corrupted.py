"""The published corruption sets as they are distributed: CIFAR-C, its TFDS form, Tiny-ImageNet-C.

`open_published` looks at every file before the first image is read, so that an evaluation either
has all its parts or does not start. Images are memory-mapped or decoded batch by batch.

References: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations", ICLR 2019, and the sets at doi 10.5281/zenodo.2535967 (CIFAR-10-C), 3555552
(CIFAR-100-C) and 2536630 (Tiny-ImageNet-C).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from varmixup_jax import checks, corruptions
from varmixup_jax.data.cifar_c import open_arrays, open_tfds
from varmixup_jax.data.published import Published
from varmixup_jax.data.tiny_imagenet_c import open_folders

KINDS = ("cifar10", "cifar100", "tiny_imagenet")


def open_published(
    path: str | Path,
    kind: str,
    names: Sequence[str] = corruptions.NAMES,
    *,
    md5: bool = False,
) -> Published:
    """Opens a published corruption set and checks that all of it is there.

    Args:
      path: for CIFAR a directory of `<corruption>.npy` and `labels.npy`, or a TFDS directory that
        holds the prepared `cifar10_corrupted`; for Tiny-ImageNet-C a directory
        `<corruption>/<severity>/<wnid>/*.JPEG` or the tar of it.
      kind: `cifar10`, `cifar100` or `tiny_imagenet`: which set it is.
      names: the corruptions that will be read.
      md5: compare the files with the published md5 sums (reads them once); needed once per
        download, not once per run. Sets made with other tools have other sums.

    Returns:
      The set.

    Raises:
      ValueError: a file is missing, or its shape, type or md5 is not what it should be; the message
        names the file, what was found and what was expected.
    """
    checks.one_of(KINDS, kind=kind)
    checks.one_of(corruptions.FUNCTIONS, **{f"names[{i}]": name for i, name in enumerate(names)})
    root = Path(path)
    if not root.exists():
        raise ValueError(f"{root}: found nothing, expected the directory of the {kind} corruptions")
    if kind == "tiny_imagenet":
        return open_folders(root, names, md5)
    prepared = root / "cifar10_corrupted"
    if kind == "cifar10" and prepared.is_dir():
        return open_tfds(root, prepared, names)
    return open_arrays(root, kind, names, md5)
