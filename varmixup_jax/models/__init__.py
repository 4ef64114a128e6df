"""Classifiers and the VAE, by name; the only place that knows Flax modules by their class."""

from varmixup_jax.models.init import init
from varmixup_jax.models.registry import CLASSIFIERS, build_classifier, build_vae

__all__ = ["CLASSIFIERS", "build_classifier", "build_vae", "init"]
