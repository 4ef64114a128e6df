"""Corruption robustness: the 15 + 4 corruptions of CIFAR-C and Tiny-ImageNet-C as JAX functions.

>>> import jax
>>> from varmixup_jax import corruptions
>>> images = jax.random.uniform(jax.random.key(0), (2, 32, 32, 3))
>>> corruptions.corrupt(jax.random.key(1), "fog", images, severity=3).shape
(2, 32, 32, 3)
"""

from varmixup_jax.corruptions.apply import (
    DETERMINISTIC,
    EXTRA,
    FUNCTIONS,
    NAMES,
    SMALLEST,
    corrupt,
    frost_source,
)
from varmixup_jax.corruptions.photographs import FrostTextures, load_textures
from varmixup_jax.corruptions.severity_tables import SEVERITIES, TABLES, table_for

__all__ = [
    "DETERMINISTIC",
    "EXTRA",
    "FUNCTIONS",
    "NAMES",
    "SEVERITIES",
    "SMALLEST",
    "TABLES",
    "FrostTextures",
    "corrupt",
    "frost_source",
    "load_textures",
    "table_for",
]
