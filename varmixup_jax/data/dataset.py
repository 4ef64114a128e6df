"""What every data source produces: a `Dataset`, and the `Source` it is split from."""

from __future__ import annotations

import functools
import hashlib
from typing import NamedTuple

import numpy as np

from varmixup_jax.corruptions.manifest import clean_sha256

_CHUNK = 4096  # images per step of the statistics: bounds their memory, does not change their value


class Part(NamedTuple):
    """One labelled part of a source, with the source's names of its fields (for error messages).

    Attributes:
      images: uint8 `[N, H, W, C]`.
      labels: integers `[N]`.
      images_field: what the source calls the images, such as `x_train`.
      labels_field: what the source calls the labels, such as `y_train`.
    """

    images: np.ndarray
    labels: np.ndarray
    images_field: str
    labels_field: str


class Source(NamedTuple):
    """What a source holds before the validation split is taken from `train`.

    Attributes:
      name: for rows and captions, such as `cifar10`.
      where: for error messages: the source and its file or folder.
      train: the part that may be trained on and selected on.
      test: the part that only the final evaluation reads.
      label_names: one name per class.
    """

    name: str
    where: str
    train: Part
    test: Part
    label_names: tuple[str, ...]


class _Fields(NamedTuple):
    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    val_images: np.ndarray
    val_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    label_names: tuple[str, ...]


class Dataset(_Fields):
    """A checked image-classification set, split in three. A NamedTuple with derived properties.

    Attributes:
      name: `digits`, `cifar10`, ...: for rows and captions.
      train_images: uint8 `[N, H, W, C]`, C = 1 (grey) or 3 (RGB).
      train_labels: int32 `[N]` in 0..K-1.
      val_images: uint8 `[V, H, W, C]`, taken from the source's training part; V may be 0.
      val_labels: int32 `[V]`.
      test_images: uint8 `[T, H, W, C]`: never used to select a model.
      test_labels: int32 `[T]`.
      label_names: K class names.
    """

    # No __slots__: the cached properties below live in the instance's dict.

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.label_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image of the three splits."""
        height, width, channels = self.train_images.shape[1:]
        return height, width, channels

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the training split: shape, pixels and labels, in order.

        Equal on every platform for equal data; used as part of cache keys.
        """
        return _sha256(self.train_images, self.train_labels)

    @functools.cached_property
    def digests(self) -> dict[str, str]:
        """Hex SHA-256 digests by name, which identify this data wherever its files are.

        `train` (the fingerprint) and `val` are of images and labels in order, `test` of the test
        images with their labels in any order. `labels` is of the labels of all three splits: if it
        is equal, only the images differ.
        """
        parts = (self.train_labels, self.val_labels, self.test_labels)
        return {
            "train": self.fingerprint,
            "val": _sha256(self.val_images, self.val_labels),
            "test": clean_sha256(self.test_images, self.test_labels),
            "labels": _sha256(np.concatenate(parts), np.array([len(part) for part in parts])),
        }

    def channel_stats(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel over the training split.

        `mean_c = E[x_c] / 255` and `std_c = sqrt(E[x_c^2] - E[x_c]^2) / 255` over all training
        pixels, from exact integer sums, so the result does not depend on the order of summation.

        Returns:
          `(mean, std)`, each C floats in [0, 1] units.

        Raises:
          ValueError: if a channel is constant (its standard deviation cannot normalise anything).
        """
        return self._channel_stats

    @functools.cached_property
    def _channel_stats(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        channels, values = self.train_images.shape[-1], np.arange(256)
        counts = np.zeros((channels, 256), np.int64)  # of each pixel value
        for start in range(0, len(self.train_images), _CHUNK):
            chunk = self.train_images[start : start + _CHUNK].reshape(-1, channels)
            counts += [np.bincount(plane, minlength=256) for plane in chunk.T]
        total, squares = (counts @ values).tolist(), (counts @ values**2).tolist()
        pixels = self.train_images.size // channels
        mean = tuple(t / pixels / 255 for t in total)
        # n * sum(x^2) - sum(x)^2 in integers: no cancellation.
        spread = [pixels * s - t * t for t, s in zip(total, squares, strict=True)]
        if 0 in spread:
            raise ValueError(
                f"{self.name}: channel {spread.index(0)} of the training images is constant, "
                "every channel must vary"
            )
        return mean, tuple(s**0.5 / pixels / 255 for s in spread)


def _sha256(images: np.ndarray, labels: np.ndarray) -> str:
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels, dtype="<i4").data)
    return digest.hexdigest()
