"""Every method there is: the source paper's nine, and those that go beyond it."""

from varmixup_jax.vicinal import beyond, nine
from varmixup_jax.vicinal.registry import METHODS, Method, build, paper_methods, register

__all__ = ["METHODS", "Method", "beyond", "build", "nine", "paper_methods", "register"]
