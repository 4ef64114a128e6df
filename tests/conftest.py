"""The floor every test stands on: strict promotion, key-reuse check, eight fake devices."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)


@pytest.fixture
def key():
    """A fresh typed key."""
    return jax.random.key(0)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Compiled programs and VAEs, shared by all tests that run the command line on digits."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def quick_compilation():
    """Unoptimised programs: for nets so small that compiling them is all they cost."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
