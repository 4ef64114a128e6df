"""`tfds:<name>`: any prepared TFDS image-classification set, read without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from varmixup_jax.checks import reason
from varmixup_jax.data import cache
from varmixup_jax.data.dataset import Part, Source
from varmixup_jax.data.prepared import find_prepared, parse_request
from varmixup_jax.data.validate import refusal
from varmixup_jax.image_files import decode_images

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
    import tensorflow_datasets as tfds

    builder = open_prepared(where, folder)
    image_key, label_key = _feature_keys(where, builder.info.features, tfds.features)
    channels, varying = _image_kind(where, image_key, builder.info.features[image_key])
    if varying and resize is None:
        allowed = "of one size, or be given data.resize=<pixels>"
        raise refusal(where, image_key, "images of mixed sizes", allowed)
    size = resize if varying else None
    splits = ("train", _test_split(where, builder.info.splits))

    def decode() -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for split in splits:
            records = open_records(builder, split, image_key, label_key)
            rows = range(builder.info.splits[split].num_examples)
            images, labels = records.decoded(rows, channels, size)
            arrays |= {f"{split}_images": images, f"{split}_labels": labels}
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


class Records(NamedTuple):
    """Encoded images and labels of a split, read by row.

    Attributes:
      where: its files, for messages.
      source: TFDS's random access to the records.
      image_key, label_key: the features.
    """

    where: str
    source: Any
    image_key: str
    label_key: str

    def read(self, rows: range) -> Iterator[tuple[int, bytes, int]]:
        """Row, encoded image and label of each of `rows`.

        Raises:
          ValueError: a file is truncated, damaged or missing.
        """
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            try:
                examples = self.source.__getitems__(list(part))
                found = [(e[self.image_key], int(e[self.label_key])) for e in examples]
                if not all(isinstance(encoded, bytes) for encoded, _ in found):
                    raise OSError("a record without an image")  # it is truncated
            except Exception as error:  # what array_record and protobuf raise for damaged files
                raise _damaged(self.where, error) from error
            for row, (encoded, label) in zip(part, found, strict=True):
                yield row, encoded, label

    def decoded(
        self, rows: range, channels: int, size: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """uint8 `[n, H, W, channels]` and int64 `[n]` of `rows`.

        Raises:
          ValueError: as `read`, or an image is damaged, or not of the size of the first.
        """
        labels: list[int] = []

        def encoded() -> Iterator[tuple[str, bytes]]:
            for row, image, label in self.read(rows):
                labels.append(label)
                yield f"{self.where}: record {row}: {self.image_key}", image

        images = decode_images(encoded(), len(rows), channels, size)
        return images, np.array(labels, np.int64)


def open_prepared(where: str, folder: Path) -> Any:
    """TFDS's builder for a prepared set.

    Raises:
      ValueError: its metadata cannot be read.
    """
    # Imported here: it takes half a second, and the other sets do not need it.
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(str(folder))
    except Exception as error:  # TFDS raises what its JSON and protobuf parsers raise
        text = reason(error)
        raise ValueError(f"{where}: TFDS metadata cannot be read: {text}") from error


def open_records(
    builder: Any, split: str, image_key: str = "image", label_key: str = "label"
) -> Records:
    """The records of a split.

    Raises:
      ValueError: a file is missing or damaged.
    """
    import tensorflow_datasets as tfds

    names = [Path(name) for name in builder.info.splits[split].filepaths]
    where = f"{names[0]} .. {names[-1].name}" if len(names) > 1 else str(names[0])
    # Decoding the PNG or JPEG ourselves avoids OpenCV and a NumPy copy.
    decoders = {image_key: tfds.decode.SkipDecoding()}
    try:
        source = builder.as_data_source(split=split, decoders=decoders)
    except Exception as error:  # as for reading
        raise _damaged(where, error) from error
    return Records(where, source, image_key, label_key)


def _damaged(where: str, error: Exception) -> ValueError:
    return ValueError(f"{where}: truncated, damaged or missing: {reason(error)}")
