"""Arrays to a prepared TFDS directory in array_record format, without TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from PIL import Image

from varmixup_jax.data.archives import Contents, Examples


def write_prepared(
    name: str, version: str, contents: Contents, data_dir: Path, *, id_digits: int, citation: str
) -> Path:
    """Writes `<data_dir>/<name>/<version>` as TFDS does, so that `tfds.data_source` reads it.

    Features are `image` (PNG), one ClassLabel for each label, and `id` if asked for: those of the
    TFDS builder of that name and version. Images are handed over as Pillow images, which TFDS
    encodes without TensorFlow.

    Args:
      name: of the TFDS data set.
      version: such as `3.0.2`.
      contents: what to write; every split has images of one shape.
      data_dir: the directory of prepared data sets; made if need be.
      id_digits: digits of the row number in the feature `id`; 0 for no such feature.
      citation: recorded with the data set.

    Returns:
      The folder. If it is already prepared, it is left as it is.
    """
    shape = next(iter(contents.splits.values())).images.shape[1:]
    features: dict[str, Any] = {
        label: tfds.features.ClassLabel(names=list(names))
        for label, names in contents.names.items()
    }
    features["image"] = tfds.features.Image(shape=shape)
    if id_digits:
        features["id"] = tfds.features.Text()

    # Not registered: TFDS has its own builder of that name, and the two must not meet.
    class Builder(  # type: ignore[call-arg]
        tfds.core.GeneratorBasedBuilder, skip_registration=True
    ):
        """The contents, as TFDS asks for them."""

        VERSION = tfds.core.Version(version)

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=("image", "label"),
                citation=citation,
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
            del dl_manager  # everything is in memory already
            return {
                split: _examples(split, part, id_digits) for split, part in contents.splits.items()
            }

        def _generate_examples(self) -> None:
            raise AssertionError("the generators are given to TFDS by _split_generators")

    Builder.name = name
    data_dir.mkdir(parents=True, exist_ok=True)
    builder = Builder(data_dir=str(data_dir), file_format="array_record")
    builder.download_and_prepare(download_dir=str(data_dir / "downloads"))
    return Path(builder.data_dir)


def _examples(split: str, part: Examples, id_digits: int) -> Iterator[tuple[int, dict[str, Any]]]:
    grey = part.images.shape[-1] == 1
    for row, image in enumerate(part.images):
        example: dict[str, Any] = {label: int(part.labels[label][row]) for label in part.labels}
        example["image"] = Image.fromarray(image[..., 0] if grey else image)
        if id_digits:
            example["id"] = f"{split}_{row:0{id_digits}d}"
        yield row, example
