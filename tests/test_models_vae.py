"""The VAE's networks: shapes for every size, ranges, no batch mates, a gradient for every leaf."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import models
from varmixup_jax.models.vae import LOG_STD_RANGE, depth_to_space

SMALL = {"latent_size": 4, "width": 2, "blocks": 1}


@pytest.mark.parametrize(
    ("shape", "fields", "latent_shape"),
    [
        ((8, 8, 1), {}, (4, 4, 4)),
        ((28, 28, 1), {}, (7, 7, 4)),
        ((32, 32, 3), {"latent_size": 32}, (8, 8, 32)),
        ((32, 32, 3), {"downsample": 2}, (16, 16, 4)),
        ((64, 64, 3), {}, (16, 16, 4)),
        ((64, 64, 3), {"downsample": 8, "blocks": 0}, (8, 8, 4)),
        ((24, 40, 2), {"width": 3}, (6, 10, 4)),
        ((8, 8, 1), {"latent": "vector"}, (4,)),
        ((28, 28, 1), {"latent": "vector"}, (4,)),
        ((32, 32, 3), {"latent": "vector", "latent_size": 256}, (256,)),
        ((64, 64, 3), {"latent": "vector", "downsample": 16}, (4,)),
        ((8, 8, 1), {"dtype": "bfloat16"}, (4, 4, 4)),
        ((8, 8, 1), {"latent": "vector", "dtype": "bfloat16"}, (4,)),
    ],
)
def test_shapes_and_dtypes(shape, fields, latent_shape):
    module = models.build_vae(shape, **{**SMALL, **fields})
    assert module.latent_shape == latent_shape
    image = jax.ShapeDtypeStruct((3, *shape), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), image)
    encode = functools.partial(module.apply, method="encode")
    decode = functools.partial(module.apply, method="decode")
    mean, log_std = jax.eval_shape(encode, variables, image)
    assert mean.shape == log_std.shape == (3, *latent_shape)
    pixels = jax.eval_shape(decode, variables, mean)
    assert pixels.shape == image.shape
    leaves = jax.tree.leaves((variables, mean, log_std, pixels))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
    assert set(variables) == {"params"}  # nothing that differs between training and evaluation


@pytest.fixture(scope="module", params=["spatial", "vector"])
def small(request):
    module = models.build_vae((8, 8, 1), latent=request.param, **SMALL)
    image = np.random.default_rng(0).uniform(size=(3, 8, 8, 1)).astype(np.float32)
    encode, decode = (
        jax.jit(functools.partial(module.apply, method=name)) for name in ("encode", "decode")
    )
    return module, models.init(jax.random.key(0), module, image), image, encode, decode


def test_ranges_hold_far_outside_the_images(small):
    _, variables, image, encode, decode = small
    shouting = jax.tree.map(lambda leaf: 30.0 * leaf, variables)
    mean, log_std = encode(shouting, image)
    assert log_std.min() >= LOG_STD_RANGE[0]
    assert log_std.max() <= LOG_STD_RANGE[1]
    assert np.ptp(log_std) > 4.0  # the bounds are reached, so they are what held
    pixels = decode(shouting, 100.0 * mean)
    assert pixels.min() >= 0.0
    assert pixels.max() <= 1.0
    assert np.ptp(pixels) > 0.9


def test_every_leaf_gets_a_gradient_and_no_example_sees_another(small):
    module, variables, image, *_ = small

    @jax.jit
    def gradient(variables, image):
        def loss(variables):
            mean, log_std = module.apply(variables, image, method="encode")
            out = module.apply(variables, mean + jnp.exp(log_std), method="decode")
            return jnp.sum(jnp.square(out - image)), out

        return jax.grad(loss, has_aux=True)(variables)

    grads, out = gradient(variables, image)
    for path, leaf in jax.tree.leaves_with_path(grads):
        assert jnp.abs(leaf).max() > 0, jax.tree_util.keystr(path)
    _, other = gradient(variables, np.concatenate([image[:1], 1.0 - image[1:]]))
    np.testing.assert_allclose(out[0], other[0], rtol=1e-6, atol=1e-6)
    assert np.abs(out[1:] - other[1:]).max() > 1e-4


def test_moments_and_pixels_are_these_functions_of_the_last_layers(small):
    """log sigma = c + r tanh((raw - c) / r) over [c - r, c + r], and a sigmoid: from biases alone."""
    _, variables, image, encode, decode = small
    params = jax.tree.map(np.array, variables["params"])
    biases = np.linspace(-9.0, 9.0, params["encoder"]["out"]["bias"].size, dtype=np.float32)
    for part in ("encoder", "decoder"):
        params[part]["out"]["kernel"][:] = 0
    params["encoder"]["out"]["bias"][:] = biases
    params["decoder"]["out"]["bias"][:] = 0.7
    mean, log_std = encode({"params": params}, image)
    pixels = decode({"params": params}, mean)
    low, high = LOG_STD_RANGE
    centre, reach = (low + high) / 2, (high - low) / 2
    raw = biases[len(biases) // 2 :]
    np.testing.assert_allclose(mean, np.broadcast_to(biases[: len(raw)], mean.shape))
    expected = centre + reach * np.tanh((raw - centre) / reach)
    np.testing.assert_allclose(log_std, np.broadcast_to(expected, mean.shape), rtol=1e-5)
    np.testing.assert_allclose(pixels, np.full(image.shape, 1 / (1 + np.exp(-0.7))), rtol=1e-5)


def test_the_encoder_sees_pixels_around_zero(small):
    """In a uniform grey of one half there is nothing that the first layer's weights could see."""
    _, variables, image, encode, _ = small
    doubled = jax.tree.map(np.array, variables)
    doubled["params"]["encoder"]["stem"]["kernel"] *= 2
    for grey, same in ((0.5, True), (0.25, False)):
        flat = np.full_like(image, grey)
        one, other = encode(variables, flat)[0], encode(doubled, flat)[0]
        assert np.allclose(one, other, atol=1e-6) == same


def test_call_decodes_the_mean(small):
    module, variables, image, encode, decode = small
    expected = decode(variables, encode(variables, image)[0])
    np.testing.assert_allclose(jax.jit(module.apply)(variables, image), expected, rtol=1e-5)


def test_depth_to_space_is_the_sub_pixel_formula():
    """Shi et al. 2016, equation 4, with the sub-pixel before the channel in the depth."""
    hidden = np.random.default_rng(0).normal(size=(2, 3, 4, 20)).astype(np.float32)
    out = np.zeros((2, 6, 8, 5), np.float32)
    for y in range(6):
        for x in range(8):
            start = 5 * (2 * (y % 2) + x % 2)
            out[:, y, x] = hidden[:, y // 2, x // 2, start : start + 5]
    np.testing.assert_array_equal(depth_to_space(hidden), out)


@pytest.mark.parametrize(
    ("shape", "fields", "message"),
    [
        ((32, 32), {}, r"image_shape = \(32, 32\): must be \(H, W, C\)"),
        ((30, 32, 3), {}, r"image_shape = \(30, 32, 3\): .*multiples of downsample = 4"),
        ((32, 32, 0), {}, "image_shape = 0: must be a whole number >= 1"),
        ((32, 32, 3), {"downsample": 3}, "downsample = 3: must be one of 2, 4, 8, 16"),
        ((32, 32, 3), {"latent": "vektor"}, "latent = 'vektor': .*did you mean vector"),
        ((32, 32, 3), {"latent_size": 0}, "latent_size = 0: must be a whole number >= 1"),
        ((32, 32, 3), {"width": 0}, "width = 0: must be a whole number >= 1"),
        ((32, 32, 3), {"blocks": -1}, "blocks = -1: must be a whole number >= 0"),
        ((32, 32, 3), {"dtype": "int8"}, "dtype = 'int8': must be one of float32, bfloat16"),
    ],
)
def test_refusals(shape, fields, message):
    with pytest.raises(ValueError, match=message):
        models.build_vae(shape, **{**SMALL, **fields})


@pytest.mark.parametrize(
    ("method", "shape", "message"),
    [
        ("encode", (3, 8, 9, 1), r"image: has shape \(3, 8, 9, 1\), must be \[B, 8, 8, 1\]"),
        ("decode", (3, 5), r"latent: has shape \(3, 5\), must be \[B, "),
    ],
)
def test_other_shapes_are_refused(small, method, shape, message):
    module, variables, *_ = small
    with pytest.raises(ValueError, match=message):
        module.apply(variables, np.zeros(shape, np.float32), method=method)
