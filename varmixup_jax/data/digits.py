"""`digits`: scikit-learn's bundled handwritten digits, the default that needs no network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from varmixup_jax.data.dataset import Part, Source
from varmixup_jax.data.split import stratified_split

# The fixed test split. These define the set and are not settings: results on `digits` are
# comparable because they never change.
_TEST_FRACTION = 0.2
_TEST_SEED = 0

_LARGEST_PIXEL = 16  # the bundled images count set bits of 4x4 blocks: 0..16


def read_digits() -> Source:
    """Reads the 1797 grey 8x8 images of ten handwritten digits that scikit-learn ships.

    Pixels 0..16 become `round(255 * x / 16)`, uint8. The test part is fixed: one fifth of every
    class, drawn once by `stratified_split` with seed 0 (359 images, 1438 remain for training and
    validation).

    Returns:
      A `Source` named `digits` with images uint8 `[N, 8, 8, 1]`.

    References:
      Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI repository.
    """
    *pixels, labels = _bundled().T
    images = np.stack(pixels, axis=1).reshape(-1, 8, 8, 1)
    images = np.rint(images * (255 / _LARGEST_PIXEL)).astype(np.uint8)
    labels = labels.astype(np.int32)
    kept, test = stratified_split(labels, _TEST_FRACTION, _TEST_SEED)
    return Source(
        name="digits",
        where="digits",
        train=Part(images[kept], labels[kept], "images", "target"),
        test=Part(images[test], labels[test], "images", "target"),
        label_names=tuple("0123456789"),
    )


def _bundled() -> np.ndarray:
    """Rows of 64 pixels and a label, from the file itself: importing scikit-learn takes seconds."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("data.source = 'digits': needs scikit-learn, which is missing")
    path = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return np.loadtxt(path, delimiter=",")
