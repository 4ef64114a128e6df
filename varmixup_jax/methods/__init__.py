"""All methods: those of the paper, and extensions."""

from varmixup_jax.methods import extensions as extensions
from varmixup_jax.methods import paper as paper
from varmixup_jax.methods.registry import METHODS, Method, build, paper_methods, register

__all__ = ["METHODS", "Method", "build", "paper_methods", "register"]
