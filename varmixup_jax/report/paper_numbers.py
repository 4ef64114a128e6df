"""The source paper's own numbers, to stand beside ours under the paper's name, never as ours.

References: Mangla, Singh, Havaldar, Balasubramanian, "On the Benefits of Defining Vicinal
Distributions in Latent Space", Pattern Recognition Letters 152, 2021 (arXiv:2003.06566): the
table of accuracies on CIFAR-10-C and CIFAR-100-C, clean accuracy in parentheses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

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


PAPER: Mapping[str, Mapping[str, Published]] = {
    "cifar10": {
        "erm": Published(69.29, 0.21, 94.5, 0.14),
        "mixup": Published(74.74, 0.34, 95.5, 0.35),
        "mixup_r": Published(74.27, 0.22, 89.88, 0.11),
        "manifold_mixup": Published(72.54, 0.14, 95.2, 0.18),
        "at": Published(73.12, 0.31, 85.58, 0.14),
        "trades": Published(75.46, 0.21, 88.11, 0.43),
        "iat": Published(81.05, 0.42, 89.7, 0.33),
        "varmixup": Published(82.57, 0.42, 93.91, 0.45),
        "adv_varmixup": Published(82.12, 0.46, 92.19, 0.32),
    },
    "cifar100": {
        "erm": Published(47.3, 0.32, 64.5, 0.10),
        "mixup": Published(52.13, 0.43, 76.8, 0.41),
        "mixup_r": Published(43.54, 0.15, 62.24, 0.21),
        "manifold_mixup": Published(41.42, 0.23, 75.3, 0.48),
        "at": Published(45.09, 0.31, 60.28, 0.13),
        "trades": Published(45.98, 0.41, 63.3, 0.32),
        "iat": Published(50.71, 0.25, 62.7, 0.21),
        "varmixup": Published(52.57, 0.39, 73.2, 0.44),
        "adv_varmixup": Published(54.0, 0.41, 72.13, 0.34),
    },
}


def published(dataset: str, method: str) -> Published | None:
    """The paper's row of `method` on `dataset` (and its corrupted twin), None where it has none.

    >>> published("cifar10", "varmixup").corrupted
    82.57
    """
    return PAPER.get(dataset, {}).get(method)
