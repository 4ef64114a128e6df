"""A VAE of three matrices and its objective in NumPy float64, for the tests of the VAE's training.

The latent is `[B, 1, 3]`, so the noise of the reparameterisation and the prior's points, `[B, 3]`, are
told apart by their shape.
"""

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.models.forward import VAE

SHAPE, LATENT, BATCH = (2, 2, 1), 3, 4


def params(seed=0):
    rng = np.random.default_rng(seed)
    sizes = {"mean": (4, LATENT), "log_std": (4, LATENT), "out": (LATENT, 4)}
    return {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}


def _encode(params, image):
    flat = image.reshape(image.shape[0], -1)
    moments = jnp.tanh(flat @ params["mean"]), 0.5 * (flat @ params["log_std"])
    return tuple(moment[:, None] for moment in moments)


def _decode(params, latent):
    return jax.nn.sigmoid(latent[:, 0] @ params["out"]).reshape(-1, *SHAPE)


TOY = VAE(_encode, _decode, (1, LATENT))


def encode64(params, image):
    """`(mean, log_std)`, `[B, 3]` each."""
    flat = np.asarray(image, np.float64).reshape(len(image), -1)
    return np.tanh(flat @ params["mean"]), 0.5 * (flat @ params["log_std"])


def decode64(params, latent):
    """`[B, 4]`, the pixels in a row."""
    return 1 / (1 + np.exp(-(latent @ params["out"])))


def rows64(image):
    return np.asarray(image, np.float64).reshape(len(image), -1)


def mmd64(a, b, kernel, unbiased):
    """MMD^2 with a kernel of the squared distance, from the matrices of all differences."""

    def kernels(p, q):
        return kernel(np.sum((p[:, None] - q[None]) ** 2, axis=-1))

    def within(p):
        values = kernels(p, p)
        return values[~np.eye(len(p), dtype=bool)].mean() if unbiased else values.mean()

    return within(a) + within(b) - 2 * kernels(a, b).mean()


def loss64(params, image, target, noise, prior, *, gamma, kernel, unbiased):
    """E |x - D(z)|^2 (mean over pixels) + gamma MMD^2(q(z), N(0, I)), z = mu + sigma * noise."""
    mean, log_std = encode64(params, image)
    latent = mean + np.exp(log_std) * noise.reshape(mean.shape)
    reconstruction = np.mean((rows64(target) - decode64(params, latent)) ** 2)
    mmd = mmd64(latent, prior, kernel, unbiased)
    return reconstruction + gamma * mmd, reconstruction, mmd


def slopes(function, params, step=1e-5):
    """The gradient of a float64 function of a dict of arrays, by central differences."""
    found = {}
    for name, value in params.items():
        found[name] = np.zeros(value.shape)
        for place in np.ndindex(value.shape):
            sides = []
            for moved in (step, -step):
                shifted = np.array(value, np.float64)
                shifted[place] += moved
                sides.append(function({**params, name: shifted}))
            found[name][place] = (sides[0] - sides[1]) / (2 * step)
    return found
