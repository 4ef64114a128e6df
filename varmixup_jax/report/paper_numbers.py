"""The source paper's own numbers, to show next to ours under the paper's name, never as ours.

References: Mangla, Singh, Havaldar, Balasubramanian, "On the Benefits of Defining Vicinal
Distributions in Latent Space", Pattern Recognition Letters 152, 2021 (arXiv:2003.06566): the
table of accuracies on CIFAR-10-C and CIFAR-100-C, clean accuracy in parentheses.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

CITATION = "Mangla et al. 2021 (arXiv:2003.06566)"
MEASURES = ("clean", "corrupted")


_TABLE = pd.read_csv(Path(__file__).with_name("paper_numbers.csv"), index_col=["dataset", "method"])


def published(dataset: str, method: str) -> dict[str, tuple[float, float]] | None:
    """The paper's accuracies of `method` on `dataset` (and its corrupted version), None without any.

    In percent, as printed: the mean and the number after the ±, for each of `MEASURES`.

    >>> published("cifar10", "varmixup")["corrupted"][0]
    82.57
    """
    if (dataset, method) not in _TABLE.index:
        return None
    row = _TABLE.loc[(dataset, method)].to_dict()
    return {name: (row[name], row[f"{name}_spread"]) for name in MEASURES}
