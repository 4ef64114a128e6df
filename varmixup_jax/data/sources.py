"""`load`: one function for every source. The only module that knows which sources there are."""

from __future__ import annotations

import difflib

import numpy as np

from varmixup_jax import checks
from varmixup_jax.data.archives import ORIGINALS
from varmixup_jax.data.dataset import Dataset, Source
from varmixup_jax.data.digits import read_digits
from varmixup_jax.data.npz import read_npz
from varmixup_jax.data.prepared import find_archive
from varmixup_jax.data.split import balanced_subset, stratified_split
from varmixup_jax.data.tfds_source import read_tfds
from varmixup_jax.data.tiny_imagenet import read_tiny_imagenet
from varmixup_jax.data.validate import check_source
from varmixup_jax.image_files import resize_images

_FORMS = ("digits", "tfds:<name>", "tiny_imagenet", "npz:<path>")


def load(
    source: str,
    *,
    data_dir: str | None = None,
    val_fraction: float,
    split_seed: int,
    limit: int | None = None,
    resize: int | None = None,
) -> Dataset:
    """Loads and checks a data set, and takes a validation split from its training part.

    Args:
      source: `digits`; `tfds:<name>` with an optional `/<config>` and `:<version>`;
        `tiny_imagenet`; or `npz:<path>`.
      data_dir: of prepared TFDS sets (None: `$TFDS_DATA_DIR`, else `~/tensorflow_datasets`), or the
        Tiny-ImageNet folder. The other sources do not use it.
      val_fraction: fraction of every class of the training part that becomes the validation split,
        in [0, 1); 0 gives a validation split of length 0. See `stratified_split`.
      split_seed: seed of that split, >= 0. The test split does not depend on it.
      limit: keep this many of the remaining training images (all, if there are fewer), taken in
        turn from the classes; validation and test are not reduced. See `balanced_subset`.
      resize: height and width in pixels that every image gets; None keeps them. See
        `resize_images`.

    Returns:
      A `Dataset`.

    Raises:
      ValueError: for an unknown source (with the nearest name), data that is not prepared (with the
        command that prepares it), or bad data: each message names file, field, what was found and
        what is allowed.

    Example:
      >>> digits = load("digits", val_fraction=0.1, split_seed=0)
      >>> digits.image_shape, digits.num_classes
      ((8, 8, 1), 10)
    """
    if limit is not None:
        checks.whole(1, limit=limit)
    if resize is not None:
        checks.whole(1, resize=resize)
    found = _read(source, data_dir, resize)
    check_source(found)
    train, test = found.train, found.test
    kept, held_out = stratified_split(train.labels, val_fraction, split_seed)
    if limit is not None:
        kept = kept[balanced_subset(train.labels[kept], limit)]

    def sized(images: np.ndarray) -> np.ndarray:
        return images if resize is None else resize_images(images, resize)

    return Dataset(
        name=found.name,
        train_images=sized(train.images[kept]),
        train_labels=train.labels[kept].astype(np.int32),
        val_images=sized(train.images[held_out]),
        val_labels=train.labels[held_out].astype(np.int32),
        test_images=sized(test.images),
        test_labels=test.labels.astype(np.int32),
        label_names=found.label_names,
    )


def _read(source: str, data_dir: str | None, resize: int | None) -> Source:
    kind, _, rest = source.partition(":")
    if source == "digits":
        return read_digits()
    if source == "tiny_imagenet":
        return read_tiny_imagenet(data_dir)
    if kind == "tfds" and rest:
        archive = find_archive(rest, data_dir)
        return read_npz(archive, source) if archive else read_tfds(rest, data_dir, resize)
    if kind == "npz" and rest:
        return read_npz(rest, "npz")
    near = f"tfds:{source}" if source in ORIGINALS else None
    if near is None:
        known = ["digits", "tiny_imagenet", *(f"tfds:{name}" for name in ORIGINALS), *_FORMS]
        near = next(iter(difflib.get_close_matches(source, known, n=1, cutoff=0.5)), None)
    hint = f" (did you mean {near}?)" if near else ""
    raise ValueError(f"source = {checks.shown(source)}: must be one of {', '.join(_FORMS)}{hint}")
