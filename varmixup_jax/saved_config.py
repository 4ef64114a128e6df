"""A run's `config.json`: as flat fields, and which of them are settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Fields in which the runs of one group may differ: the seed, directories, what is printed or kept,
# and what a page compares with.
NOT_SETTINGS = frozenset(
    {"seed", "seeds", "quiet", "data.dir", "vae.store", "eval.baseline", "eval.save_logits"}
)

# Fields added to existing sections later, with the values that runs of older versions used.
LATER_FIELDS: Mapping[str, Any] = {
    "vae.others": [],
    "vae.perceptual": 0.0,
    "vae.perceptual_from": "",
    "parallel.flat": False,
    "vae.drawn": "batch",
    "eval.ood": "",
    "methods.augmix.joint": False,
    "methods.noisymix.joint": False,
    "methods.varmixup_augmix.joint": False,
    "methods.restyle_augmix.joint": False,
    "methods.varmixup.latent_noise": 0.0,
    "methods.varmixup_augmix.latent_noise": 0.0,
    "methods.varmixup_noisymix.latent_noise": 0.0,
    "methods.restyle.latent_noise": 0.0,
    "methods.restyle_augmix.latent_noise": 0.0,
}


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"vae": {"latent": 64}}` as `{"vae.latent": 64}`, in the same order.

    >>> flatten({"seed": 0, "vae": {"latent": 64, "kernel": {}}})
    {'seed': 0, 'vae.latent': 64, 'vae.kernel': {}}
    """
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def with_later_fields(config: dict[str, Any]) -> dict[str, Any]:
    """Adds fields of existing sections that are newer than a run, with the values the run used.

    Args:
      config: flattened.
    """
    sections = {name.rpartition(".")[0] for name in config}
    later = {n: v for n, v in LATER_FIELDS.items() if n.rpartition(".")[0] in sections}
    return config | {name: value for name, value in later.items() if name not in config}
