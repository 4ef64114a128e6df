"""Files of corrupted images: CIFAR-C, its TFDS form, Tiny-ImageNet-C, and what `make` writes.

`open_corrupted` checks every file before the first image is read, so that an evaluation does not
start with files missing; `of_test_set` makes sure that they belong to the test set at hand.
Images are memory-mapped or decoded batch by batch.

References: Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations", ICLR 2019, and the sets at doi 10.5281/zenodo.2535967 (CIFAR-10-C), 3555552
(CIFAR-100-C) and 2536630 (Tiny-ImageNet-C).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from varmixup_jax import checks, corruptions
from varmixup_jax.corruptions.manifest import MANIFEST, clean_sha256, read_manifest
from varmixup_jax.data.cifar_c import open_arrays, open_tfds
from varmixup_jax.data.corrupted_set import Batch, CorruptedSet, mismatch
from varmixup_jax.data.dataset import Dataset
from varmixup_jax.data.published import CORRUPTED
from varmixup_jax.data.tiny_imagenet_c import open_folders


def open_corrupted(
    path: str | Path,
    kind: str,
    names: Sequence[str] | None = None,
    *,
    md5: bool = False,
) -> CorruptedSet:
    """Opens files of corrupted images and checks that all of them are there.

    Args:
      path: a directory of `<corruption>.npy` and `labels.npy`; a TFDS directory that holds the
        prepared `cifar10_corrupted`; or a directory `<corruption>/<severity>/<wnid>/*.JPEG` or the
        tar of it. A `~` is expanded.
      kind: the clean set's name; the published md5 sums are known for `cifar10`, `cifar100` and
        `tiny_imagenet`.
      names: the corruptions that will be read; None for the fifteen, or those of them that `make`
        was asked for (the extra ones, if it was asked for no others).
      md5: compare the files with the published md5 sums (reads them once); needed once per
        download, not once per run.

    Returns:
      The set.

    Raises:
      ValueError: a file is missing, or its shape, type or md5 is not what it should be; the message
        names the file, what was found and what was expected.
    """
    root = Path(os.path.expanduser(path))
    if not root.exists():
        raise mismatch(root, "nothing", f"the directory of the {kind} corruptions")
    manifest = read_manifest(root)
    if md5 and manifest:
        raise ValueError(f"{root}: found {MANIFEST}, which published files with md5 sums lack")
    if md5:
        checks.one_of(CORRUPTED, **{"md5 sums of": kind})
    if names is None:
        made = corruptions.NAMES if manifest is None else manifest["names"]
        names = [name for name in corruptions.NAMES if name in made] or made
    checks.one_of(corruptions.FUNCTIONS, **{f"names[{i}]": name for i, name in enumerate(names)})
    prepared = root / "cifar10_corrupted"
    if prepared.is_dir():
        return open_tfds(root, prepared, names)
    flat = manifest is not None or (root / "labels.npy").exists()
    if not flat and (kind == "tiny_imagenet" or (root / names[0] / "1").is_dir()):
        return open_folders(root, names, md5)
    found = open_arrays(root, kind, names, md5)
    if manifest is None:
        return found
    return found._replace(
        class_names=tuple(manifest.get("classes", ())),
        clean_sha256=str(manifest.get("clean_sha256", "")),
    )


def of_test_set(found: CorruptedSet, data: Dataset) -> CorruptedSet:
    """The set with the labels of a data set, after checking that it is made of its test images.

    Classes are matched by name if both sides have names. The number of images, the number per class
    and, where the clean images are known, their pixels with their labels must be those of the test
    split; their order may differ.

    Raises:
      ValueError: naming the files, what they hold and what the test split holds.
    """

    def need(good: bool, has: str, must: str) -> None:
        if not good:
            raise ValueError(f"{found.where}: {has}, must be {must}")

    images, _ = found.read(found.names[0], 1, 0, 1)
    there, here = list(images.shape[1:]), list(data.image_shape)
    need(there == here, f"has images {there}", f"{here} as those of {data.name}")
    need(
        len(found.labels) == len(data.test_labels),
        f"has {len(found.labels)} images for each corruption and severity",
        f"{len(data.test_labels)}, the test images of {data.name}",
    )
    ours, theirs, unmatched = data.label_names, found.class_names, ""
    number = np.arange(len(ours), dtype=np.int32)  # of each of their classes, among ours
    if theirs and len(set(ours)) == len(ours) and set(theirs) <= set(ours):
        number = np.array([ours.index(name) for name in theirs], np.int32)
    elif theirs:
        names = (", ".join(each[:3]) for each in (theirs, ours))
        unmatched = " (classes there: {}, ...; here: {}, ...)".format(*names)
    largest = int(found.labels.max())
    below = f"below {len(number)} as those of {data.name}"
    need(largest < len(number), f"has labels up to {largest}", below)
    counts, wanted = (
        np.bincount(labels, minlength=len(ours))
        for labels in (number[found.labels], data.test_labels)
    )
    first = int(np.argmax(counts != wanted))
    need(
        counts[first] == wanted[first],
        f"has {counts[first]} images of class {first} ({ours[first]})",
        f"{wanted[first]} as in the test set of {data.name}{unmatched}",
    )
    if found.clean_sha256:
        back = {int(mine): there for there, mine in enumerate(number)}
        labels = np.array([back.get(int(mine), -1) for mine in data.test_labels])
        need(
            clean_sha256(data.test_images, labels) == found.clean_sha256,
            "was made of other clean images",
            f"of the test images and labels of {data.name}{unmatched}",
        )

    def read(name: str, severity: int, start: int, stop: int) -> Batch:
        pixels, labels = found.read(name, severity, start, stop)
        return pixels, number[labels]

    return found._replace(labels=number[found.labels], read=read)
