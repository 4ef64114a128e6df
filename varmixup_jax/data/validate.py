"""Refusals of bad data: one line with the file, the field, what was found and what is allowed."""

from __future__ import annotations

import numpy as np

from varmixup_jax.data.dataset import Part, Source

_SHOWN = 5  # how many missing classes a message lists


def refusal(where: str, field: str, found: str, allowed: str) -> ValueError:
    """The error to raise for a field that is not as required.

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
    """Checks everything a source returns: both parts, and that they agree in image shape.

    Args:
      source: as returned by a loader.

    Raises:
      ValueError: naming file, field, what was found and what is allowed, if there are fewer than
        two classes, a part is empty, images are not uint8 `[N, H, W, 1 or 3]`, no pixel exceeds 1,
        labels are not integers `[N]` in 0..K-1, a class has no image, or the two parts have images
        of different shapes.
    """
    where, train, test = source.where, source.train, source.test
    if len(source.label_names) < 2:
        found = f"{len(source.label_names)} class(es)"
        raise refusal(where, "label_names", found, "2 classes or more")
    for part in (train, test):
        check_images(where, part.images_field, part.images)
        _check_labels(where, part, source.label_names)
    ours, theirs = train.images.shape[1:], test.images.shape[1:]
    if ours != theirs:
        allowed = f"of one size, {ours} as in {train.images_field}"
        raise refusal(where, test.images_field, f"images of shape {theirs}", allowed)


def check_images(where: str, field: str, images: np.ndarray) -> None:
    """Checks that `images` is a non-empty uint8 `[N, H, W, C]` with pixels that use 0..255.

    Args:
      where: the source and its file or folder, for the message.
      field: the array within it.
      images: the array to check.

    Raises:
      ValueError: naming `where`, `field`, what was found and what is allowed.
    """
    if images.dtype != np.uint8:
        found = f"dtype {images.dtype}"
        if images.size and images.dtype.kind in "iuf":
            found += f" with values in [{images.min():.4g}, {images.max():.4g}]"
        raise refusal(where, field, found, "uint8 in 0..255")
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape[1:]:
        allowed = "[N, H, W, C] with C = 1 (grey) or 3 (RGB)"
        raise refusal(where, field, f"shape {images.shape}", allowed)
    if len(images) == 0:
        raise refusal(where, field, "0 images", "1 image or more")
    if images.max() <= 1:
        allowed = "in 0..255 (floats in [0, 1] cast to uint8 lose everything)"
        raise refusal(where, field, f"largest pixel is {images.max()}", allowed)


def _check_labels(where: str, part: Part, label_names: tuple[str, ...]) -> None:
    labels, field, count = part.labels, part.labels_field, len(part.images)
    in_range = f"in 0..{len(label_names) - 1}"
    if labels.dtype.kind not in "iu":
        raise refusal(where, field, f"dtype {labels.dtype}", "an integer dtype")
    if labels.shape != (count,):
        allowed = f"({count},), one per {part.images_field}"
        raise refusal(where, field, f"shape {labels.shape}", allowed)
    outside = np.flatnonzero((labels < 0) | (labels >= len(label_names)))
    if len(outside):
        found = f"label {labels[outside[0]]} at row {outside[0]}"
        raise refusal(where, field, found, in_range)
    missing = np.setdiff1d(np.arange(len(label_names)), labels)
    if len(missing):
        shown = ", ".join(f"{k} ({label_names[k]})" for k in missing[:_SHOWN])
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        allowed = f"{in_range} with every class present"
        raise refusal(where, field, f"no image of class {shown}{more}", allowed)
