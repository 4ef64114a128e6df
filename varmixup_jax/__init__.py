"""VarMixup, vicinal and adversarial training, corruptions, calibration and local linearity in JAX.

The names below are imported on first use, so that `import varmixup_jax` stays light.
"""

from __future__ import annotations

import importlib
from typing import Any

from varmixup_jax.version import __version__

_PUBLIC = {
    "Ball": "attacks.balls",
    "Draw": "types",
    "Env": "types",
    "METHODS": "methods",
    "Space": "vicinal.mixing",
    "Term": "types",
    "attack": "attacks.pgd",
    "augmix": "vicinal.augmix",
    "build": "methods",
    "chain": "vicinal.mixing",
    "cross_entropy": "losses",
    "dirac": "vicinal.mixing",
    "empirical_risk": "vicinal.objective",
    "expected_calibration_error": "evaluation.calibration",
    "js_divergence": "divergences",
    "kl_divergence": "divergences",
    "l2": "attacks.balls",
    "latents": "vicinal.mixing",
    "linf": "attacks.balls",
    "load_model": "models.saved",
    "local_linearity_error": "evaluation.linearity",
    "mix": "vicinal.mixing",
    "mix_hidden": "vicinal.hidden",
    "mmd_squared": "mmd",
    "mmd_vae_loss": "mmd",
    "noisy_hidden": "vicinal.hidden",
    "pgd": "attacks.pgd",
    "pixels": "vicinal.mixing",
    "reconstructions": "vicinal.mixing",
    "restyle": "vicinal.restyle",
    "register": "methods",
    "reliability_bins": "evaluation.calibration",
}

__all__ = ["__version__"]
__all__ += list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
