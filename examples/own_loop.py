"""VarMixup in your own training loop, and a tenth method: plain JAX, optax and this library.

    python examples/own_loop.py

Trains a small MMD-VAE and then a two-layer network on the digits, once on the images themselves and
once on decoded interpolations of latent means; takes under a minute on two CPU cores.
"""

from __future__ import annotations

import argparse
from functools import partial

import jax
import jax.numpy as jnp
import optax

import varmixup_jax as vj
from varmixup_jax.data import load
from varmixup_jax.losses import ce

LATENT = 16


def dense(key, sizes):
    """Weights of a fully connected network."""
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [(jax.random.normal(k, (m, n)) * (2 / m) ** 0.5, jnp.zeros((1, n))) for k, m, n in pairs]


def forward(layers, x):
    """A network of `dense` layers with ReLU in between."""
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def classify(layers, image):
    return forward(layers, image.reshape(len(image), -1))


def encode(vae, image):
    mean, log_std = jnp.split(forward(vae["encoder"], image.reshape(len(image), -1)), 2, axis=1)
    return mean, jnp.clip(log_std, -6.0, 2.0)


def decode(vae, latent):
    return jax.nn.sigmoid(forward(vae["decoder"], latent)).reshape(-1, 8, 8, 1)


def minimise(loss, params, images, labels, *, epochs, learning_rate, seed=0, batch=64):
    """The user's own loop: `loss(params, key, image, label) -> scalar`, Adam, shuffled batches."""
    steps = len(images) // batch
    tx = optax.adam(optax.cosine_decay_schedule(learning_rate, epochs * steps))

    @jax.jit
    def step(params, state, key, image, label):
        grads = jax.grad(loss)(params, key, image, label)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state, key = tx.init(params), jax.random.key(seed)
    for epoch in range(epochs):
        order = jax.random.permutation(jax.random.fold_in(key, epoch), len(images))
        for i in range(steps):
            index = order[i * batch : (i + 1) * batch]
            step_key = jax.random.fold_in(key, epochs + epoch * steps + i)
            params, state = step(params, state, step_key, images[index], labels[index])
    return params


def add_noise(key, env, draw, *, sigma):
    """A vicinity of our own: Gaussian noise around each example."""
    noise = sigma * jax.random.normal(key, draw.image.shape)
    return draw._replace(image=jnp.clip(draw.image + noise, 0.0, 1.0), latent=None)


@vj.register("noisy_varmixup", vae="standard", summary="VarMixup, then Gaussian noise")
def noisy_varmixup(*, sigma: float = 0.1):
    """The tenth method: two vicinities in a row."""
    vicinity = vj.chain(vj.mix(vj.latents), partial(add_noise, sigma=sigma))
    return (vj.Term(1.0, vicinity, ce),)


def main(epochs: int = 30) -> dict[str, float]:
    data = load("digits", val_fraction=0.0, split_seed=0)
    images = jnp.asarray(data.train_images, jnp.float32) / 255.0
    labels = jax.nn.one_hot(data.train_labels, 10)
    test = jnp.asarray(data.test_images, jnp.float32) / 255.0

    vae = {
        "encoder": dense(jax.random.key(1), (64, 256, 2 * LATENT)),
        "decoder": dense(jax.random.key(2), (LATENT, 256, 64)),
    }

    def vae_loss(vae, key, image, label):
        return vj.mmd_vae_loss(
            key, partial(encode, vae), partial(decode, vae), image, gamma=0.01
        ).loss

    vae = minimise(vae_loss, vae, images, labels, epochs=epochs, learning_rate=3e-3)

    accuracy = {}
    for name in ("erm", "varmixup", "noisy_varmixup"):
        (term,) = vj.build(name)

        def loss(layers, key, image, label, term=term):
            env = vj.Env(
                logits=partial(classify, layers),
                encode=lambda image: encode(vae, image)[0],
                decode=partial(decode, vae),
            )
            sample = term.vicinity(key, env, vj.Draw(image, label))  # VarMixup is this line
            return vj.cross_entropy(classify(layers, sample.image), sample.label).mean()

        layers = dense(jax.random.key(3), (64, 128, 10))
        layers = minimise(loss, layers, images, labels, epochs=epochs, learning_rate=3e-3)
        right = classify(layers, test).argmax(axis=1) == jnp.asarray(data.test_labels)
        accuracy[name] = float(right.mean())
        print(f"{name:15} test accuracy {accuracy[name]:.1%}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=30)
    main(parser.parse_args().epochs)
