"""Shared by the tests of attacks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attack_toys import SHAPE


@pytest.fixture
def key():
    """Of a generator whose programs compile in a third of the time on CPU."""
    return jax.random.key(0, impl="rbg")


@pytest.fixture
def image():
    return jnp.asarray(np.random.default_rng(2).uniform(size=SHAPE), jnp.float32)


@pytest.fixture
def weight():
    return jnp.asarray(np.random.default_rng(3).normal(size=SHAPE[1:]), jnp.float32)
