"""Classifiers and the VAE, by name; the only package that uses the classes of Flax modules."""

from varmixup_jax.models.build import CLASSIFIERS, build_classifier, build_vae
from varmixup_jax.models.init import init

__all__ = ["CLASSIFIERS", "build_classifier", "build_vae", "init"]
