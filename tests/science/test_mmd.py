"""MMD^2 against plain loops over its equation, and what the default kernel can tell apart."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import mmd

KERNELS = {
    "rbf": lambda squared, d: np.exp(-squared / (2 * d)),
    "rbf, s^2 = 0.7": lambda squared, d: np.exp(-squared / (2 * 0.7)),
    "zhao": lambda squared, d: np.exp(-squared / d**2),
    "imq": lambda squared, d: sum(
        2 * d * c / (2 * d * c + squared) for c in (0.1, 0.2, 0.5, 1, 2, 5, 10)
    ),
}


@pytest.fixture
def key():
    """Of a generator whose programs compile in a third of the time on CPU."""
    return jax.random.key(0, impl="rbg")


def loops(a, b, kernel, unbiased):
    """MMD^2 (Gretton et al. 2012, eqs. 3 and 5) pair by pair, in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)

    def mean(first, second, leave_out):
        total, pairs = 0.0, 0
        for i, p in enumerate(first):
            for j, q in enumerate(second):
                if leave_out and i == j:
                    continue
                total += kernel(float(np.sum((p - q) ** 2)), a.shape[1])
                pairs += 1
        return total / pairs

    return mean(a, a, unbiased) + mean(b, b, unbiased) - 2 * mean(a, b, False)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("name", KERNELS)
def test_mmd_is_the_loops_over_pairs(name, unbiased):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(7, 5)), 0.4 + 1.5 * rng.normal(size=(9, 5))
    kind, _, bandwidth = name.partition(", s^2 = ")
    kernel = mmd.make_kernel(kind, 5, float(bandwidth) if bandwidth else None)
    measure = jax.jit(partial(mmd.mmd_squared, kernel=kernel, unbiased=unbiased))
    found = measure(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
    np.testing.assert_allclose(found, loops(a, b, KERNELS[name], unbiased), rtol=2e-5)


def test_the_gradient_is_that_of_the_loops():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(4, 3)), 1.0 + rng.normal(size=(4, 3))
    kernel = mmd.make_kernel("rbf", 3)
    slope = jax.jit(jax.grad(mmd.mmd_squared), static_argnums=2)
    found = slope(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32), kernel)
    step, expected = 1e-5, np.zeros_like(a)
    for place in np.ndindex(a.shape):
        sides = []
        for moved in (step, -step):
            shifted = a.copy()
            shifted[place] += moved
            sides.append(loops(shifted, b, KERNELS["rbf"], True))
        expected[place] = (sides[0] - sides[1]) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dim", [2, 20, 128, 512])
def test_the_default_kernel_sees_scale_and_shift(dim, key):
    """Either fault is far above both the estimate's own noise and what a flat kernel would give."""
    draw = np.random.default_rng(0).normal(size=(256, dim)).astype(np.float32)
    measure = jax.jit(mmd.mmd_to_normal)
    keys = jax.random.split(key, 3)
    right, wide, off = (
        float(measure(keys[index], latent))
        for index, latent in enumerate((draw, 2 * draw, draw + np.float32(0.5)))
    )
    assert min(wide, off) > max(10 * abs(right), 0.02)


def test_the_kernel_of_the_published_code_is_nearly_flat_in_high_dimension(key):
    """METHODS: at d = 256 a 2x scale error is worth 3e-4 there and 0.22 to rbf (biased, n = 256)."""
    wrong = 2 * np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    measure = jax.jit(mmd.mmd_to_normal, static_argnames=("kernel", "unbiased"))
    rbf_key, zhao_key = jax.random.split(key)
    rbf = float(measure(rbf_key, wrong, unbiased=False))
    zhao = float(measure(zhao_key, wrong, kernel="zhao", unbiased=False))
    assert rbf == pytest.approx(0.22, abs=0.02)
    assert zhao == pytest.approx(3e-4, abs=1e-4)


def test_the_unbiased_estimate_is_centred_and_the_biased_one_is_not():
    kernel = mmd.make_kernel("rbf", 4)
    a, b = np.random.default_rng(0).normal(size=(2, 400, 16, 4)).astype(np.float32)
    unbiased, biased = (
        jax.jit(jax.vmap(partial(mmd.mmd_squared, kernel=kernel, unbiased=one)))(a, b)
        for one in (True, False)
    )
    error = float(jnp.std(unbiased)) / 20
    assert abs(float(jnp.mean(unbiased))) < 4 * error
    assert float(jnp.min(unbiased)) < 0
    assert float(jnp.mean(biased)) > 4 * error
    assert float(jnp.min(biased)) >= 0


def test_distances_of_near_points_are_never_negative():
    draw = np.random.default_rng(0).normal(size=(64, 3))
    a = jnp.asarray(100 + 1e-3 * draw, jnp.float32)
    squared = mmd.squared_distances(a, a)
    assert float(jnp.min(squared)) >= 0
    assert squared.shape == (64, 64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mmd.make_kernel("rdf", 3), "kernel = 'rdf'.*did you mean rbf"),
        (lambda: mmd.make_kernel("rbf", 0), "dim = 0"),
        (lambda: mmd.make_kernel("imq", 3, 1.0), "only the rbf kernel"),
        (lambda: mmd.make_kernel("rbf", 3, -1.0), "bandwidth = -1.0: must be > 0"),
        (
            lambda: mmd.mmd_squared(jnp.ones((1, 2)), jnp.ones((3, 2)), jnp.exp),
            "needs at least 2",
        ),
        (lambda: mmd.mmd_squared(jnp.ones((4, 2)), jnp.ones((3, 1)), jnp.exp), "shapes"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
