"""Arrays to a prepared TFDS directory, by TFDS itself and without TensorFlow."""

from __future__ import annotations

from pathlib import Path

import tensorflow_datasets as tfds
from PIL import Image


def pairs(images, labels):
    """Images with labels, in an order of their own: TFDS shuffles when it writes."""
    return sorted(
        (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    )


def write_prepared(name, version, splits, names, data_dir, *, mixed=False, **features):
    """Writes `<data_dir>/<name>/<version>` of `{split: (images, labels)}` and the class names.

    `mixed` announces images of any size; further features get the label.
    """
    shape = next(iter(splits.values()))[0][0].shape
    features["image"] = tfds.features.Image(shape=(None, None, shape[2]) if mixed else shape)
    features["label"] = tfds.features.ClassLabel(names=list(names))

    def examples(images, labels):
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            picture = Image.fromarray(image[..., 0] if shape[-1] == 1 else image)
            yield row, {**dict.fromkeys(features, int(label)), "image": picture}

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """The arrays, as TFDS asks for them."""

        VERSION = tfds.core.Version(version)

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {split: examples(*arrays) for split, arrays in splits.items()}

        def _generate_examples(self):
            raise AssertionError("the generators are given to TFDS by _split_generators")

    Prepared.name = name
    builder = Prepared(data_dir=str(data_dir), file_format="array_record")
    builder.download_and_prepare(download_dir=str(data_dir / "downloads"))
    return Path(builder.data_dir)
