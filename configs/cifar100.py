"""CIFAR-100: the recipe of `configs/cifar10.py` on 100 classes.

    python -m varmixup_jax.data.prepare cifar100                   # once
    python -m varmixup_jax.main --config=configs/cifar100.py       # VarMixup; :METHODS,PRESET as there

Cost: that of CIFAR-10. Result: see the results table in README.md.
"""

from ml_collections import ConfigDict

from varmixup_jax.recipes import cifar10


def get_config(argument=None) -> ConfigDict:
    c = cifar10.get_config(argument)
    c.data.source = "tfds:cifar100"
    return c
