"""Tiny-ImageNet-C as distributed, in folders and in a tar."""

import tarfile

import numpy as np
import pytest
from PIL import Image

from varmixup_jax import corruptions
from varmixup_jax.data.corrupted import open_corrupted

NAMES = ("contrast", "pixelate")


@pytest.fixture
def tiny(tmp_path):
    """Two corruptions, five severities, two classes of two JPEGs, one of them grey."""
    root = tmp_path / "Tiny-ImageNet-C"
    for name in NAMES:
        for severity in corruptions.SEVERITIES:
            for label, wnid in enumerate(("n01", "n02")):
                folder = root / name / str(severity) / wnid
                folder.mkdir(parents=True)
                for index in range(2):
                    level = 100 * label + 10 * severity + index
                    mode = "L" if index else "RGB"
                    picture = Image.new(mode, (64, 64), level if index else (level,) * 3)
                    picture.save(folder / f"test_{index}.JPEG", quality=100)
    return root


def archive(root):
    path = root.parent / "set.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(root, arcname=root.name)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_tiny_imagenet_c_from_folder_and_tar(tiny, packed):
    path = archive(tiny) if packed else tiny.parent
    opened = open_corrupted(path, "tiny_imagenet", NAMES)
    assert len(opened.labels) == 4
    (images, labels), (rest, _) = opened.batches("pixelate", 3, 3)
    assert images.shape == (3, 64, 64, 3)
    np.testing.assert_array_equal(labels, [0, 0, 1])
    np.testing.assert_allclose(images[:, 0, 0, 0].astype(int), [30, 31, 130], atol=1)
    np.testing.assert_allclose(rest[0, 0, 0].astype(int), [131] * 3, atol=1)
