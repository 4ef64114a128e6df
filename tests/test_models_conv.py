"""The loop-safe convolution: JAX's own gradients, written in the one form that is fast in a loop."""

import functools
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax.models import conv
from varmixup_jax.models.conv import Conv, conv2d

CASES = [
    # batch, (H, W), (kh, kw), (C, O), strides, padding
    (2, (8, 8), (3, 3), (3, 4), (1, 1), ((1, 1), (1, 1))),
    (3, (7, 9), (3, 3), (2, 5), (2, 2), ((1, 1), (1, 1))),
    (2, (11, 8), (5, 3), (1, 2), (3, 1), ((2, 1), (0, 2))),
    (2, (2, 2), (3, 3), (3, 4), (1, 1), ((1, 1), (1, 1))),  # smaller than the kernel
    (1, (9, 9), (2, 4), (2, 1), (2, 3), ((0, 1), (3, 0))),
    (37, (5, 4), (3, 3), (2, 3), (2, 1), ((1, 1), (1, 1))),  # chunks of the batch and a remainder
]


def _draw(case):
    batch, size, taps, (inputs, outputs), _, _ = case
    first, second = jax.random.split(jax.random.key(1))
    image = jax.random.normal(first, (batch, *size, inputs))
    return image, jax.random.normal(second, (*taps, inputs, outputs))


def _by_hand(image, kernel, strides, padding):
    image = np.pad(np.asarray(image, np.float64), ((0, 0), *padding, (0, 0)))
    kernel = np.asarray(kernel, np.float64)
    rows = (image.shape[1] - kernel.shape[0]) // strides[0] + 1
    columns = (image.shape[2] - kernel.shape[1]) // strides[1] + 1
    out = np.zeros((image.shape[0], rows, columns, kernel.shape[3]))
    for y, x in itertools.product(range(rows), range(columns)):
        top, left = y * strides[0], x * strides[1]
        window = image[:, top : top + kernel.shape[0], left : left + kernel.shape[1]]
        out[:, y, x] = np.einsum("bijc,ijco->bo", window, kernel)
    return out


@pytest.mark.parametrize("case", CASES)
def test_values_are_the_defining_sum_and_gradients_those_that_jax_derives(case):
    image, kernel = _draw(case)
    expected = _by_hand(image, kernel, *case[4:])
    cotangent = np.random.default_rng(0).normal(size=expected.shape).astype(np.float32)

    @jax.jit
    def both(image, kernel):
        run = functools.partial(conv2d, strides=case[4], padding=case[5])
        out, ours = jax.vjp(functools.partial(run, gradients="loop_safe"), image, kernel)
        _, derived = jax.vjp(functools.partial(run, gradients="xla"), image, kernel)
        return out, ours(cotangent), derived(cotangent)

    out, ours, derived = both(image, kernel)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    for a, b in zip(ours, derived, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_bfloat16_gradients_are_bfloat16_and_near():
    image, kernel = _draw(CASES[-1])
    run = functools.partial(conv2d, strides=(2, 1), padding=((1, 1), (1, 1)), gradients="loop_safe")

    @functools.partial(jax.jit, static_argnums=2)
    def gradients(image, kernel, dtype):
        out, pullback = jax.vjp(run, image.astype(dtype), kernel.astype(dtype))
        return pullback(jnp.ones_like(out))

    narrow, wide = (gradients(image, kernel, dtype) for dtype in ("bfloat16", "float32"))
    assert [g.dtype for g in narrow] == [jnp.bfloat16, jnp.bfloat16]
    for a, b in zip(narrow, wide, strict=True):
        np.testing.assert_allclose(np.asarray(a, np.float32), b, rtol=2e-2, atol=0.1)


def test_vmap_is_a_python_loop():
    image, kernel = _draw(CASES[0])

    @jax.jit
    def gradient(images):
        out = functools.partial(conv2d, images, gradients="loop_safe")
        return jax.grad(lambda w: jnp.sum(out(w) ** 2))(kernel)

    stack = np.stack([image, 2.0 * image, -image])
    expected = np.stack([gradient(images) for images in stack])
    np.testing.assert_allclose(jax.vmap(gradient)(stack), expected, rtol=1e-4, atol=1e-3)


def test_image_gradient_alone_needs_no_kernel_gradient():
    image, kernel = _draw(CASES[0])

    def loss(image, kernel):
        out = conv2d(image, kernel, padding=((1, 1), (1, 1)), gradients="loop_safe")
        return jnp.sum(out**2)

    compiled = jax.jit(jax.grad(loss, argnums=0)).lower(image, kernel).compile()
    both = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(image, kernel).compile()
    forward = 2 * 2 * 8 * 8 * 9 * 3 * 4
    assert compiled.cost_analysis()["flops"] < 2.5 * forward
    assert both.cost_analysis()["flops"] > 2.5 * forward


@pytest.mark.parametrize(("stride", "taps"), [(2, 3), (2, 1)])
def test_module_is_flax_conv_with_symmetric_padding(stride, taps, key):
    image = np.random.default_rng(0).normal(size=(2, 8, 7, 3)).astype(np.float32)
    pad = (taps - 1) // 2
    theirs = nn.Conv(5, (taps, taps), stride, padding=((pad, pad), (pad, pad)))
    ours = Conv(5, (taps, taps), stride)

    @jax.jit
    def both(key):
        variables = theirs.init(key, image)
        return variables, theirs.apply(variables, image), ours.apply(variables, image)

    variables, expected, out = both(key)
    shapes = jax.eval_shape(ours.init, jax.random.key(0), image)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_the_backend_chooses(monkeypatch):
    image, kernel = _draw(CASES[0])
    called = []
    safe = conv._loop_safe
    monkeypatch.setattr(conv, "_loop_safe", lambda *a: called.append(True) or safe(*a))
    conv2d(image, kernel)
    assert called == [True]
    monkeypatch.setattr(conv.jax, "default_backend", lambda: "gpu")
    conv2d(image, kernel)
    assert called == [True]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gradients": "loopsafe"}, "gradients = 'loopsafe'.*loop_safe"),
        ({"strides": (0, 1)}, "strides = 0: must be a whole number >= 1"),
        ({"padding": ((3, 0), (0, 0))}, r"padding = 3: must lie in \[0, 2\]"),
    ],
)
def test_refusals(fields, message):
    with pytest.raises(ValueError, match=message):
        conv2d(*_draw(CASES[0]), **fields)
