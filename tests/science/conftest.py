"""Shared by the tests of the science."""

import jax
import pytest


@pytest.fixture(scope="module")
def quick_compilation():
    """Unoptimised programs: for nets so small that compiling them is all they cost."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
