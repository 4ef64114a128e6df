"""Refusals of bad data: one line with the file, the field, what was found and what is allowed."""

from __future__ import annotations

import numpy as np

from varmixup_jax.data.dataset import Part, Source

_SHOWN = 5  # how many missing classes a message lists


def refusal(where: str, field: str, found: str, allowed: str) -> ValueError:
    """The error of a field that is not as it must be.

    Args:
      where: the source and its file or folder.
      field: the array, feature or file within it.
      found: what is there.
      allowed: what must be there.

    Returns:
      A ValueError to raise.

    Example:
      >>> print(refusal("npz:a.npz", "x_train", "dtype float64", "uint8 in 0..255"))
      npz:a.npz: field x_train: dtype float64, must be uint8 in 0..255
    """
    return ValueError(f"{where}: field {field}: {found}, must be {allowed}")


def check_source(source: Source) -> None:
    """Checks everything a source gives: both parts, and that they agree in image shape.

    Args:
      source: as a loader made it.

    Raises:
      ValueError: naming file, field, what was found and what is allowed, if there are fewer than
        two classes, a part is empty, images are not uint8 `[N, H, W, 1 or 3]`, no pixel exceeds 1,
        labels are not integers `[N]` in 0..K-1, a class has no image, or the two parts have images
        of different shapes.
    """
    if len(source.label_names) < 2:
        raise refusal(
            source.where, "label_names", f"{len(source.label_names)} class(es)", "2 classes or more"
        )
    for part in (source.train, source.test):
        check_images(source.where, part.images_field, part.images)
        _check_labels(source.where, part, source.label_names)
    train_shape, test_shape = source.train.images.shape[1:], source.test.images.shape[1:]
    if train_shape != test_shape:
        raise refusal(
            source.where,
            source.test.images_field,
            f"images of shape {test_shape}",
            f"of one size, {train_shape} as in {source.train.images_field}",
        )


def check_images(where: str, field: str, images: np.ndarray) -> None:
    """Checks that `images` is a non-empty uint8 `[N, H, W, C]` with pixels that use 0..255.

    Args:
      where: the source and its file or folder, for the message.
      field: the array within it.
      images: what is to be checked.

    Raises:
      ValueError: naming `where`, `field`, what was found and what is allowed.
    """
    if images.dtype != np.uint8:
        found = f"dtype {images.dtype}"
        if images.size and images.dtype.kind in "iuf":
            found += f" with values in [{images.min():.4g}, {images.max():.4g}]"
        raise refusal(where, field, found, "uint8 in 0..255")
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        raise refusal(
            where, field, f"shape {images.shape}", "[N, H, W, C] with C = 1 (grey) or 3 (RGB)"
        )
    if len(images) == 0:
        raise refusal(where, field, "0 images", "1 image or more")
    if images.max() <= 1:
        raise refusal(
            where,
            field,
            f"largest pixel is {images.max()}",
            "in 0..255 (floats in [0, 1] cast to uint8 lose everything)",
        )


def _check_labels(where: str, part: Part, label_names: tuple[str, ...]) -> None:
    labels, field, count = part.labels, part.labels_field, len(part.images)
    if labels.dtype.kind not in "iu":
        raise refusal(where, field, f"dtype {labels.dtype}", "an integer dtype")
    if labels.shape != (count,):
        raise refusal(
            where, field, f"shape {labels.shape}", f"({count},), one per {part.images_field}"
        )
    outside = np.flatnonzero((labels < 0) | (labels >= len(label_names)))
    if len(outside):
        row = outside[0]
        raise refusal(where, field, f"label {labels[row]} at row {row}", _range(label_names))
    missing = np.flatnonzero(np.bincount(labels.astype(np.int64), minlength=len(label_names)) == 0)
    if len(missing):
        shown = ", ".join(f"{k} ({label_names[k]})" for k in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise refusal(
            where,
            field,
            f"no image of class {shown}{more}",
            f"{_range(label_names)} with every class present",
        )


def _range(label_names: tuple[str, ...]) -> str:
    return f"in 0..{len(label_names) - 1}"
