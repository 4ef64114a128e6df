import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from varmixup_jax import mmd


def numpy_mmd(a, b, kernel, unbiased):
    def pairs(x, y):
        return np.array([[kernel(np.sum((p - q) ** 2)) for q in y] for p in x])

    kaa, kbb, kab = pairs(a, a), pairs(b, b), pairs(a, b)
    n, m = len(a), len(b)
    if unbiased:
        return (
            (kaa.sum() - np.trace(kaa)) / (n * (n - 1))
            + (kbb.sum() - np.trace(kbb)) / (m * (m - 1))
            - 2 * kab.mean()
        )
    return kaa.mean() + kbb.mean() - 2 * kab.mean()


KERNELS = {
    "rbf": lambda d: lambda s: np.exp(-s / (2 * d)),
    "zhao": lambda d: lambda s: np.exp(-s / d**2),
    "imq": lambda d: lambda s: sum(2 * d * c / (2 * d * c + s) for c in mmd.IMQ_SCALES),
}


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("name", mmd.KERNELS)
def test_mmd_against_numpy(name, unbiased, key):
    a, b = jax.random.normal(key, (2, 12, 5))
    b = 1.5 * b[:9]
    expected = numpy_mmd(np.asarray(a), np.asarray(b), KERNELS[name](5), unbiased)
    found = mmd.mmd_squared(a, b, mmd.make_kernel(name, 5), unbiased=unbiased)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dim", [2, 20, 128, 512])
def test_default_kernel_sees_scale_and_shift(dim, key):
    keys = jax.random.split(key, 4)
    draw = jax.random.normal(keys[0], (256, dim))
    same = abs(float(mmd.mmd_to_normal(keys[1], draw)))
    for index, wrong in enumerate((2.0 * draw, 0.5 + draw)):
        assert float(mmd.mmd_to_normal(keys[2 + index], wrong)) > 10 * max(same, 1e-4)


def test_zhao_kernel_is_nearly_flat_in_high_dimension(key):
    draw_key, rbf_key, zhao_key = jax.random.split(key, 3)
    wrong = 2.0 * jax.random.normal(draw_key, (256, 256))
    rbf = float(mmd.mmd_to_normal(rbf_key, wrong))
    zhao = float(mmd.mmd_to_normal(zhao_key, wrong, kernel="zhao"))
    assert rbf > 100 * abs(zhao)


def test_unbiased_estimate_is_centred_and_biased_is_not(key):
    def one(key):
        draw_key, prior_key = jax.random.split(key)
        draw = jax.random.normal(draw_key, (16, 4))
        args = {"kernel": "rbf"}
        return (
            mmd.mmd_to_normal(prior_key, draw, unbiased=True, **args),
            mmd.mmd_to_normal(jax.random.clone(prior_key), draw, unbiased=False, **args),
        )

    unbiased, biased = jax.vmap(one)(jax.random.split(key, 400))
    error = float(jnp.std(unbiased)) / 20
    assert abs(float(jnp.mean(unbiased))) < 4 * error
    assert float(jnp.mean(biased)) > 4 * error
    assert float(jnp.min(biased)) >= 0


def test_distances_are_never_negative_and_have_gradients(key):
    a = jax.random.normal(key, (6, 3))
    assert float(jnp.min(mmd.squared_distances(a, a))) >= 0
    kernel = mmd.make_kernel("rbf", 3)
    check_grads(lambda x: mmd.mmd_squared(x, 2.0 * a, kernel), (a + 0.3,), 1, modes=("rev",))


def test_vae_loss_has_the_right_signs(key):
    image = jax.random.uniform(key, (32, 4, 4, 1))

    def encode(x):
        flat = x.reshape(x.shape[0], -1)
        return flat, jnp.full_like(flat, -20.0)

    def decode(z):
        return jnp.zeros((z.shape[0], 4, 4, 1))

    parts = mmd.mmd_vae_loss(jax.random.key(1), encode, decode, image, gamma=3.0)
    np.testing.assert_allclose(parts.reconstruction, np.mean(np.square(image)), rtol=1e-5)
    assert float(parts.mmd) > 0  # uniform on [0, 1] is not N(0, 1)
    np.testing.assert_allclose(parts.loss, parts.reconstruction + 3.0 * parts.mmd, rtol=1e-6)
    clean = mmd.mmd_vae_loss(
        jax.random.key(2), encode, decode, image, gamma=0.0, target=jnp.zeros_like(image)
    )
    assert float(clean.loss) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mmd.make_kernel("rdf", 3), "kernel = 'rdf'.*did you mean rbf"),
        (lambda: mmd.make_kernel("rbf", 0), "dim = 0"),
        (lambda: mmd.make_kernel("imq", 3, 1.0), "only the rbf kernel"),
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
