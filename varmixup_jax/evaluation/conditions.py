"""The corruptions that a test set is measured under: computed from it, or read from files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from varmixup_jax import checks, corruptions
from varmixup_jax.data import Dataset
from varmixup_jax.data.corrupted import of_test_set, open_corrupted
from varmixup_jax.data.corrupted_set import CorruptedSet
from varmixup_jax.evaluation.views import View, computed_views, file_views
from varmixup_jax.types import Array, Key


class Conditions(NamedTuple):
    """The corruptions of a test set, and where they come from.

    Attributes:
      source: "none", "computed", "files", or "published": files whose md5 sums were checked.
      frost_source: "synthetic", "photographs", or the source of the files.
      corrupt: `(key, name, images, severity) -> images` with the table for these images; one object,
        so that each corruption is compiled once for all that is measured.
      names: of those that are computed.
      published: the files to read, or None.
    """

    source: str
    frost_source: str
    corrupt: Callable[[Key, str, Array, int | Array], Array]
    names: Sequence[str] = corruptions.NAMES
    published: CorruptedSet | None = None

    def views(self, examples: int | None = None) -> Iterable[View]:
        """Each corruption at each severity; from files only `examples` images, evenly spread."""
        if self.published is not None:
            return file_views(self.published, examples)
        return computed_views(self.corrupt, self.names) if self.source == "computed" else []


def conditions(
    where: str | Path | Sequence[str], data: Dataset, frost_dir: str = "", *, md5: bool = False
) -> Conditions:
    """Opens and checks the files, or sets up the computed corruptions.

    Args:
      where: "none", "computed" (the fifteen), names of corruptions, or a directory of files.
      data: its test images are corrupted.
      frost_dir: as `config.eval.frost_dir`.
      md5: whether the files must have the published md5 sums.

    Raises:
      ValueError: one line that begins with `corruptions` or `frost_dir`.
    """
    size, width, channels = data.image_shape
    textures, table = None, corruptions.table_for(size)
    if where != "none" or frost_dir:
        textures = corruptions.load_textures(os.path.expanduser(frost_dir), table=table, size=size)
    corrupt = partial(corruptions.corrupt, table=table, frost_textures=textures)
    found = Conditions("computed", corruptions.frost_source(textures), corrupt)
    if where == "none":
        return found._replace(source="none")
    if isinstance(where, str) and where in corruptions.FUNCTIONS and not Path(where).exists():
        where = (where,)
    if not isinstance(where, (str, Path)):
        names = {f"corruptions[{i}]": name for i, name in enumerate(where)}
        checks.one_of(corruptions.FUNCTIONS, **names)
        found = found._replace(names=tuple(where))
    elif where != "computed":
        try:
            files = of_test_set(open_corrupted(where, data.name, md5=md5), data)
        except ValueError as error:
            raise ValueError(f"corruptions = {where}: {error}") from None
        source = "published" if md5 else "files"
        return found._replace(source=source, frost_source=source, published=files)
    if size != width or size < corruptions.SMALLEST or channels not in (1, 3):
        text = f"needs square images of {corruptions.SMALLEST} pixels or more with 1 or 3 channels"
        raise ValueError(f"corruptions = {where}: {text}, not {size}x{width}x{channels}; or none")
    return found
