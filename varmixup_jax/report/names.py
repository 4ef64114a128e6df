"""The names a report knows and the order in which it shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# The nine of the paper first, and the defaults of their settings. The registry of methods is JAX code,
# which a report never imports; a test keeps the two in sync.
DEFAULTS: Mapping[str, Mapping[str, Any]] = json.loads(
    Path(__file__).with_name("method_defaults.json").read_text(encoding="utf-8")
)
METHODS = tuple(DEFAULTS)[:9]
CORRUPTION_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    "extra": ("speckle_noise", "gaussian_blur", "spatter", "saturate"),
}
BENCHMARK = tuple(n for f, names in CORRUPTION_FAMILIES.items() if f != "extra" for n in names)
KINDS = tuple(kind for kind in CORRUPTION_FAMILIES if kind != "extra")
CORRUPTIONS = (*BENCHMARK, *CORRUPTION_FAMILIES["extra"])
SEVERITIES = (1, 2, 3, 4, 5)
TITLES = {  # of data sets, in the order of their tables
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "tiny_imagenet": "Tiny-ImageNet",
    "digits": "Digits",
}


def method_rank(method: str) -> tuple[int, str]:
    """Sorts methods: the nine in their order, others after them by name."""
    return (METHODS.index(method) if method in METHODS else len(METHODS), method)
