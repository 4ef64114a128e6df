"""Images and losses whose worst neighbour is known, for the tests of attacks."""

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.attacks.pgd import (
    l2,
    linf,
    pgd,
    zero_start,
)

SHAPE = (5, 4, 4, 3)
BALLS = {"linf": linf, "l2": l2}


def flat(array):
    return np.asarray(array, np.float64).reshape(len(array), -1)


def linear(weight, image):
    return jnp.einsum("bhwc,hwc->b", image, weight)


def bumpy(weight, image):
    """Smooth, with many local maxima."""
    return jnp.sum(jnp.sin(9.0 * image * weight[None] + 1.0), axis=(1, 2, 3))


def run(attack, key, image, loss, **settings):
    """Compiled as one program, which is much faster than operation by operation."""
    return jax.jit(lambda key, image: attack(key, image, loss, **settings))(key, image)


def run_pgd(key, image, loss, **settings):
    # Programs without random numbers compile several times faster; starts have tests of their own.
    settings = {"ball": linf(0.1), "steps": 5, "step_size": 0.05, "start": zero_start, **settings}
    return run(pgd, key, image, loss, **settings)
