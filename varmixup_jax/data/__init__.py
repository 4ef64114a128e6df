"""Data sets through one function, `load`, and the augmentation that runs on the device."""

from varmixup_jax.data.augment import crop_and_flip
from varmixup_jax.data.dataset import Dataset
from varmixup_jax.data.sources import load

__all__ = ["Dataset", "crop_and_flip", "load"]
