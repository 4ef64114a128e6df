"""The source paper's own numbers, to stand beside ours under the paper's name, never as ours.

References: Mangla, Singh, Havaldar, Balasubramanian, "On the Benefits of Defining Vicinal
Distributions in Latent Space", Pattern Recognition Letters 152, 2021 (arXiv:2003.06566): the
table of accuracies on CIFAR-10-C and CIFAR-100-C, clean accuracy in parentheses.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

CITATION = "Mangla et al. 2021 (arXiv:2003.06566)"
MEASURES = ("clean", "corrupted")


class Published(NamedTuple):
    """Accuracies of one method in percent, as printed: mean and the figure after the ±."""

    corrupted: float
    corrupted_spread: float
    clean: float
    clean_spread: float

    def of(self, measure: str) -> tuple[float, float]:
        """Mean and spread of one of `MEASURES`."""
        pairs = {"clean": (self.clean, self.clean_spread)}
        return {**pairs, "corrupted": (self.corrupted, self.corrupted_spread)}[measure]


_TABLE = pd.read_csv(Path(__file__).with_name("paper_numbers.csv"), index_col=["dataset", "method"])
PAPER: Mapping[str, Mapping[str, Published]] = {
    str(name): {method: Published(*row) for (_, method), *row in rows.itertuples(name=None)}
    for name, rows in _TABLE.groupby(level="dataset")
}


def published(dataset: str, method: str) -> Published | None:
    """The paper's row of `method` on `dataset` (and its corrupted twin), None where it has none.

    >>> published("cifar10", "varmixup").corrupted
    82.57
    """
    return PAPER.get(dataset, {}).get(method)
