"""No model may take the loop trap: inside a loop each convolution has the form that XLA's CPU
kernel takes as it stands. The compiled program says which form it is; no clock is needed."""

import re

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from varmixup_jax import models
from varmixup_jax.models import conv

CANONICAL = "b01f_01io->b01f"


def _loop_convolutions(function, *args):
    """The forms of the convolutions that run when `function` is called in a loop, and only there."""

    def twice(*args):
        def body(_, carry):
            moved = function(*jax.tree.map(lambda a: a + carry.astype(a.dtype), args))
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(moved)).astype(jnp.float32)

        return lax.fori_loop(0, 2, body, jnp.float32(0.0))

    text = jax.jit(twice).lower(*args).compile().as_text()
    return re.findall(r"dim_labels=(\S+?)[,\s]", text)


def _gradient(kind, dtype="float32"):
    if kind == "vae":
        module = models.build_vae((8, 8, 1), latent_size=2, width=2, blocks=1, dtype=dtype)
    else:
        module = models.build_classifier(
            kind, num_classes=3, mean=[0.5], std=[0.25], width=2, dtype=dtype
        )
    image = jax.ShapeDtypeStruct((32, 8, 8, 1), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), image)
    rest = {name: tree for name, tree in variables.items() if name != "params"}
    rest = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), rest)
    train = {"train": True, "mutable": ["batch_stats"]} if rest else {}

    def loss(params, image):
        out = module.apply({**rest, "params": params}, image, **train)
        return jnp.sum(jnp.square(out[0] if train else out))

    return jax.grad(loss, argnums=(0, 1)), variables["params"], image


@pytest.mark.parametrize("kind", ["preact_resnet8", "vae"])
def test_gradients_in_a_loop_are_canonical_convolutions(kind):
    forms = _loop_convolutions(*_gradient(kind))
    assert forms
    assert set(forms) == {CANONICAL}


def test_the_check_sees_the_trap(monkeypatch):
    monkeypatch.setattr(conv.jax, "default_backend", lambda: "gpu")  # the gradients JAX derives
    forms = _loop_convolutions(*_gradient("preact_resnet8"))
    assert set(forms) - {CANONICAL}
