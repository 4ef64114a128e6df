"""`tfds:<name>`: any prepared TFDS image-classification set, read without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from varmixup_jax.checks import reason
from varmixup_jax.data import cache
from varmixup_jax.data.dataset import Part, Source
from varmixup_jax.data.prepared import find_prepared, parse_request
from varmixup_jax.data.validate import refusal
from varmixup_jax.image_files import decode_image

_BATCH = 1024  # records read at a time


def read_tfds(request: str, data_dir: str | None, resize: int | None) -> Source:
    """Reads a data set that TFDS has prepared as array_record.

    The training part is the split `train`; the test part is `test`, or `validation` for the sets
    that publish no labelled test split. Nothing is downloaded. The decoded arrays are cached (see
    `varmixup_jax.data.cache`).

    Args:
      request: `name[/config][:version]`.
      data_dir: the directory of prepared sets; None for `$TFDS_DATA_DIR`, else
        `~/tensorflow_datasets`.
      resize: needed, as height and width in pixels, for sets whose images differ in size; it has no
        effect here on sets of one size.

    Returns:
      A `Source` named after the set.

    Raises:
      ValueError: if the set is not prepared (with the command that prepares it), has no image and
        label features, a split is missing or empty, a file is missing, truncated or damaged, or
        images differ in size and `resize` is None.
    """
    folder = find_prepared(request, data_dir)
    where = f"tfds:{request} ({folder})"
    # Imported here: it takes half a second, and the other sources do not need it.
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(folder))
    except Exception as error:  # TFDS raises what its JSON and protobuf parsers raise
        text = reason(error)
        raise ValueError(f"{where}: TFDS metadata cannot be read: {text}") from error
    image_key, label_key = _feature_keys(where, builder.info.features, tfds.features)
    channels, varying = _image_kind(where, image_key, builder.info.features[image_key])
    if varying and resize is None:
        raise refusal(
            where,
            image_key,
            "images of mixed sizes",
            "of one size, or be given data.resize=<pixels>",
        )
    size = resize if varying else None
    splits = ("train", _test_split(where, builder.info.splits))

    def decode() -> dict[str, np.ndarray]:
        arrays = {}
        for split in splits:
            pair = _decode_split(where, builder, split, image_key, label_key, channels, size)
            arrays[f"{split}_images"], arrays[f"{split}_labels"] = pair
        return arrays

    files = [path for path in folder.iterdir() if path.is_file()]
    key = cache.stamp(files, splits, image_key, label_key, size)
    name, _, _ = parse_request(request)
    arrays = cache.through_cache(name, folder, key, decode)
    train, test = (
        Part(
            arrays[f"{split}_images"],
            arrays[f"{split}_labels"],
            f"{split}/{image_key}",
            f"{split}/{label_key}",
        )
        for split in splits
    )
    label_names = tuple(builder.info.features[label_key].names)
    return Source(name=name, where=where, train=train, test=test, label_names=label_names)


def _feature_keys(where: str, features: Any, kinds: Any) -> tuple[str, str]:
    """The keys of the image and the label: by name, else the only feature of that kind."""
    keys = []
    for wanted, kind in (("image", kinds.Image), ("label", kinds.ClassLabel)):
        having = [key for key in features if isinstance(features[key], kind)]
        if wanted not in having and len(having) != 1:
            found = ", ".join(f"{key}: {type(features[key]).__name__}" for key in features)
            raise refusal(where, wanted, f"features are {found}", f"a {kind.__name__} feature")
        keys.append(wanted if wanted in having else having[0])
    return keys[0], keys[1]


def _image_kind(where: str, key: str, feature: Any) -> tuple[int, bool]:
    """The number of channels, and whether images may differ in size."""
    height, width, channels = feature.shape
    if np.dtype(feature.np_dtype) != np.uint8:
        raise refusal(where, key, f"dtype {np.dtype(feature.np_dtype)}", "uint8 in 0..255")
    if channels not in (None, 1, 3):
        raise refusal(where, key, f"{channels} channels", "1 (grey) or 3 (RGB)")
    return channels or 3, height is None or width is None


def _test_split(where: str, splits: Any) -> str:
    for split in ("train", "test", "validation"):
        if split in splits and splits[split].num_examples == 0:
            raise refusal(where, split, "0 images", "1 image or more")
    test = next((split for split in ("test", "validation") if split in splits), None)
    if "train" not in splits or test is None:
        found = ", ".join(splits) or "none"
        raise refusal(where, "splits", found, "train and test (or validation)")
    return test


def _decode_split(
    where: str,
    builder: Any,
    split: str,
    image_key: str,
    label_key: str,
    channels: int,
    size: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    count = builder.info.splits[split].num_examples
    images, labels = None, np.empty(count, np.int64)
    for row, (encoded, label) in enumerate(_records(builder, split, image_key, label_key)):
        try:
            image = decode_image(encoded, channels, size)
        except OSError as error:
            raise ValueError(f"{_shards(builder, split)}: record {row}: {error}") from error
        if images is None:
            images = np.empty((count, *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            found = f"shape {image.shape} at row {row}"
            allowed = f"of one size, {images.shape[1:]} as at row 0"
            raise refusal(where, f"{split}/{image_key}", found, allowed)
        images[row], labels[row] = image, label
    assert images is not None  # an empty split has been refused
    return images, labels


def _records(
    builder: Any, split: str, image_key: str, label_key: str
) -> Iterator[tuple[bytes, int]]:
    """The encoded image and the label of every record of a split, in order."""
    import tensorflow_datasets as tfds

    count = builder.info.splits[split].num_examples
    try:
        # Decoding the PNG or JPEG ourselves keeps OpenCV and a numpy copy out of the way.
        records = builder.as_data_source(
            split=split, decoders={image_key: tfds.decode.SkipDecoding()}
        )
        for start in range(0, count, _BATCH):
            rows = range(start, min(start + _BATCH, count))
            for row, example in zip(rows, records.__getitems__(list(rows)), strict=True):
                if not isinstance(example[image_key], bytes):  # a record that was cut off
                    raise OSError(f"no image in record {row}")
                yield example[image_key], int(example[label_key])
    except Exception as error:  # what array_record and protobuf raise of damaged files
        text = f"truncated, damaged or missing: {reason(error)}"
        raise ValueError(f"{_shards(builder, split)}: {text}") from error


def _shards(builder: Any, split: str) -> Path | str:
    names = [Path(name) for name in builder.info.splits[split].filepaths]
    return names[0] if len(names) == 1 else f"{names[0]} .. {names[-1].name}"
