"""Classifiers and the VAE, by name; the only place that knows Flax modules by their class."""

from varmixup_jax.models.build import CLASSIFIERS, build_classifier, build_vae
from varmixup_jax.models.init import init

__all__ = ["CLASSIFIERS", "build_classifier", "build_vae", "init"]
