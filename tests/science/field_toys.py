"""A classifier and a VAE of a few matrices, in which every setting of a method makes a difference."""

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.models.forward import VAE

SHAPE, CLASSES, PIXELS, WIDTH = (8, 8, 3), 3, 192, 5
GRID, LATENT = (2, 1, 2), 4


def _flat(image):
    """Pixels in a row, far enough from one another for small changes to be seen."""
    return 8.0 * (image.reshape(image.shape[0], -1) - 0.4)


def toy_apply(params, stats, image, *, train, tap):
    """A network with everything that a method may touch: three stages, and running statistics."""
    hidden = _flat(tap(0, image)) @ params["in"]
    mean = jnp.mean(hidden, axis=0) if train else stats["mean"]
    hidden = tap(1, jnp.tanh(hidden - mean[None]))
    hidden = tap(2, jnp.tanh(hidden @ params["middle"]))
    if train:
        stats = {"mean": 0.9 * stats["mean"] + 0.1 * mean}
    return hidden @ params["out"], stats


def toy_logits(variables, image):
    return toy_apply(*variables, image, train=False, tap=lambda stage, hidden: hidden)[0]


def encode(params, image):
    moments = _flat(image) @ params["encode"]
    mean, log_std = jnp.tanh(moments[:, :LATENT]), 0.1 * moments[:, LATENT:]
    return mean.reshape(-1, *GRID), log_std.reshape(-1, *GRID)


def _decode(params, latent):
    flat = latent.reshape(latent.shape[0], -1)
    return jax.nn.sigmoid(3.0 * flat @ params["decode"]).reshape(-1, *SHAPE)


TOY_VAE = VAE(encode, _decode, GRID)
SIZES = {
    "in": (PIXELS, WIDTH),
    "middle": (WIDTH, WIDTH),
    "out": (WIDTH, CLASSES),
    "encode": (PIXELS, 2 * LATENT),
    "decode": (LATENT, PIXELS),
}


def toy_init(key, module, *args, **kwargs):
    """Variables of both toys, from the key alone."""
    del module, args, kwargs
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    params = {
        name: jnp.asarray(rng.normal(size=size) / size[0] ** 0.5, jnp.float32)
        for name, size in SIZES.items()
    }
    return {"params": params, "batch_stats": {"mean": jnp.zeros(WIDTH)}}


def as_text(part):
    """A part of an observation in a form that compares by value, numbers to five digits."""
    leaves, structure = jax.tree.flatten(part)
    return repr(([_text(leaf) for leaf in leaves], str(structure)))


def _text(leaf):
    if not isinstance(leaf, (np.ndarray, jax.Array, float)):
        return repr(leaf)
    array = np.asarray(leaf)
    return array.shape, " ".join(f"{value:.5g}" for value in array.ravel().tolist())
