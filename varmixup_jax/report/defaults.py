"""The defaults of each method's settings, for pages that are made without JAX.

The registry of methods is JAX code, which a report never imports; `tests/test_report_labels.py` holds
the two together. Of a method that is not listed a row names the settings in which its runs differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MIX: Mapping[str, Any] = {"alpha": 1.0, "lam": "batch"}
_NOISE: Mapping[str, Any] = {"latent_noise": 0.0}
_LATENT: Mapping[str, Any] = {
    **_MIX,
    **_NOISE,
    "clean_weight": 0.0,
    "partners": 1,
    "then_mixup": False,
}
_AUGMIX: Mapping[str, Any] = {"consistency": 12.0, "views": 2, "severity": 3.0, "joint": True}
_STYLE: Mapping[str, Any] = {
    **_MIX,
    **_NOISE,
    "alpha": 0.0,
    "strength": 1.0,
    "amount": "uniform",
    "groups": 1,
    "styles": 1,
    "clean_weight": 0.5,
}
_HIDDEN: Mapping[str, Any] = {"stages": [0, 1, 2]}

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "erm": {},
    "mixup": _MIX,
    "mixup_r": {**_MIX, "clean_weight": 0.0, "order": "reconstruct_first"},
    "manifold_mixup": {**_MIX, **_HIDDEN, "alpha": 2.0, "loss": "ce"},
    "at": {"eps": 8 / 255, "step_size": 2 / 255, "steps": 10},
    "trades": {"beta": 6.0, "eps": 8 / 255, "step_size": 0.007, "steps": 10, "start_sigma": 0.001},
    "iat": {**_MIX, "eps": 8 / 255, "step_size": 2 / 255, "steps": 7},
    "varmixup": _LATENT,
    "adv_varmixup": {**_MIX, "clean_weight": 0.0},
    "augmix": {**_AUGMIX, "alpha": 1.0},
    "noisymix": {
        **_MIX,
        **_HIDDEN,
        **_AUGMIX,
        "sigma_add": 0.1,
        "sigma_mult": 0.1,
        "input_noise": False,
        "clean_weight": 0.5,
    },
    "varmixup_augmix": {**_LATENT, **_AUGMIX, "clean_weight": 0.5, "decoded_views": False},
    "varmixup_noisymix": {
        **_MIX,
        **_NOISE,
        **_AUGMIX,
        "stages": [1, 2],
        "sigma_add": 0.1,
        "sigma_mult": 0.1,
        "clean_weight": 0.5,
    },
    "restyle": _STYLE,
    "restyle_augmix": {**_STYLE, **_AUGMIX, "decoded_views": False},
}
