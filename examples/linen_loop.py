"""Adversarial Mixup in a Flax Linen training loop, with BatchNorm.

    python examples/linen_loop.py

A Linen module is already a pure function: the vicinity gets it with `train=False`.
"""

from __future__ import annotations

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import varmixup_jax as vj
from varmixup_jax.data import load

ATTACK = vj.attack(vj.ce, ball=vj.linf(0.1), steps=3, step_size=0.05)
VICINITY = vj.chain(ATTACK, vj.mix(vj.pixels))  # the second term of IAT
OPTIMIZER = optax.adam(1e-2)


class Net(nn.Module):
    @nn.compact
    def __call__(self, image, *, train):
        hidden = nn.Conv(16, (3, 3), strides=2)(image)
        hidden = nn.relu(nn.BatchNorm(use_running_average=not train)(hidden))
        return nn.Dense(10)(hidden.reshape(len(image), -1))


@jax.jit
def step(variables, opt_state, key, image, label):
    env = vj.Env(logits=partial(Net().apply, variables, train=False))
    sample = VICINITY(key, env, vj.Draw(image, label))

    def loss(params):
        logits, updated = Net().apply(
            variables | {"params": params}, sample.image, train=True, mutable="batch_stats"
        )
        return vj.cross_entropy(logits, sample.label).mean(), updated

    grads, updated = jax.grad(loss, has_aux=True)(variables["params"])
    updates, opt_state = OPTIMIZER.update(grads, opt_state)
    params = optax.apply_updates(variables["params"], updates)
    return {"params": params, **updated}, opt_state


def main(epochs: int = 5, batch: int = 128) -> float:
    data = load("digits", val_fraction=0.0, split_seed=0)
    images = jnp.asarray(data.train_images, jnp.float32) / 255.0
    labels = jax.nn.one_hot(data.train_labels, 10)
    variables = Net().init(jax.random.key(0), images[:1], train=False)
    opt_state = OPTIMIZER.init(variables["params"])
    for epoch in range(epochs):
        key = jax.random.key(epoch)
        order = jax.random.permutation(key, len(images))
        for i in range(len(images) // batch):
            index = order[i * batch : (i + 1) * batch]
            step_key = jax.random.fold_in(key, i)
            variables, opt_state = step(
                variables, opt_state, step_key, images[index], labels[index]
            )

    test = jnp.asarray(data.test_images, jnp.float32) / 255.0
    logits = Net().apply(variables, test, train=False)
    right = logits.argmax(axis=1) == jnp.asarray(data.test_labels)
    print(f"test accuracy {right.mean():.1%}")
    return float(right.mean())


if __name__ == "__main__":
    main()
