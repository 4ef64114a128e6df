"""Adversarial Mixup in a Flax NNX training loop, with BatchNorm.

    python examples/nnx_loop.py

The vicinity attacks the model, so it needs the model as a pure function of the image: `vj.nnx_logits`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import varmixup_jax as vj
from varmixup_jax.data import load

ATTACK = vj.attack(vj.ce, ball=vj.linf(0.1), steps=3, step_size=0.05)
VICINITY = vj.chain(ATTACK, vj.mix(vj.pixels))  # the second term of IAT


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.conv = nnx.Conv(1, 16, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.head = nnx.Linear(16 * 4 * 4, 10, rngs=rngs)

    def __call__(self, image):
        hidden = nnx.relu(self.norm(self.conv(image)))
        return self.head(hidden.reshape(len(image), -1))


@nnx.jit
def step(model, optimizer, key, image, label):
    # The attack uses the running statistics without changing them; the training pass updates them.
    env = vj.Env(logits=vj.nnx_logits(model))
    sample = VICINITY(key, env, vj.Draw(image, label))

    def loss(model):
        return vj.cross_entropy(model(sample.image), sample.label).mean()

    optimizer.update(model, nnx.grad(loss)(model))


def main(epochs: int = 5, batch: int = 128) -> float:
    data = load("digits", val_fraction=0.0, split_seed=0)
    images = jnp.asarray(data.train_images, jnp.float32) / 255.0
    labels = jax.nn.one_hot(data.train_labels, 10)
    model = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
    for epoch in range(epochs):
        key = jax.random.key(epoch)
        order = jax.random.permutation(key, len(images))
        for i in range(len(images) // batch):
            index = order[i * batch : (i + 1) * batch]
            step(model, optimizer, jax.random.fold_in(key, i), images[index], labels[index])

    test = jnp.asarray(data.test_images, jnp.float32) / 255.0
    right = vj.nnx_logits(model)(test).argmax(axis=1) == jnp.asarray(data.test_labels)
    print(f"test accuracy {right.mean():.1%}")
    return float(right.mean())


if __name__ == "__main__":
    main()
