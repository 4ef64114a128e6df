"""Files of corrupted images, opened: checked as a whole, read batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from varmixup_jax import checks, corruptions

Batch = tuple[np.ndarray, np.ndarray]


def mismatch(where: object, found: object, expected: str) -> ValueError:
    """The error to raise for a file that is not as expected."""
    return ValueError(f"{where}: found {found}, expected {expected}")


class CorruptedSet(NamedTuple):
    """Corrupted images, checked and ready to stream.

    Attributes:
      where: the directory or archive, for messages and result rows.
      names: the corruptions it holds, all of those asked for.
      labels: int32 `[N]`, one for each image of each corruption and severity.
      read: `(name, severity, start, stop) -> (uint8 [n, H, W, C], int32 [n])`.
      class_names: the name of each label, () if the files do not have them.
      clean_sha256: of the clean images, see `corruptions.manifest`; "" if the files do not have it.
    """

    where: str
    names: tuple[str, ...]
    labels: np.ndarray
    read: Callable[[str, int, int, int], Batch]
    class_names: tuple[str, ...] = ()
    clean_sha256: str = ""

    def batches(self, name: str, severity: int, batch_size: int) -> Iterator[Batch]:
        """Images and labels of one corruption at one severity, in order; the last may be short.

        Args:
          name: one of `names`.
          severity: 1 to 5.
          batch_size: images at a time.

        Yields:
          uint8 `[n, H, W, C]` and int32 `[n]`.

        Raises:
          ValueError: unknown name, severity or batch size.
        """
        checks.one_of(self.names, name=name)
        checks.one_of(corruptions.SEVERITIES, severity=severity)
        checks.whole(1, batch_size=batch_size)
        for start in range(0, len(self.labels), batch_size):
            yield self.read(name, severity, start, min(start + batch_size, len(self.labels)))
