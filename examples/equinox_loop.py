"""Adversarial Mixup in an Equinox training loop, with BatchNorm.

    pip install equinox
    python examples/equinox_loop.py

Equinox layers take one example, channels first; vicinities take batches `[B, H, W, C]`.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import varmixup_jax as vj
from varmixup_jax.data import load

ATTACK = vj.attack(vj.ce, ball=vj.linf(0.1), steps=3, step_size=0.05)
VICINITY = vj.chain(ATTACK, vj.mix(vj.pixels))  # the second term of IAT
OPTIMIZER = optax.adam(1e-2)


class Net(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    head: eqx.nn.Linear

    def __init__(self, key):
        conv_key, head_key = jax.random.split(key)
        self.conv = eqx.nn.Conv2d(1, 16, 3, stride=2, padding=1, key=conv_key)
        self.norm = eqx.nn.BatchNorm(16, axis_name="batch", mode="batch")
        self.head = eqx.nn.Linear(16 * 4 * 4, 10, key=head_key)

    def __call__(self, image, state):
        hidden, state = self.norm(self.conv(image), state)
        return self.head(jax.nn.relu(hidden).ravel()), state


def forward(model, state, image):
    """Logits `[B, K]` of a batch `[B, H, W, C]`, and the new state."""
    batched = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
    return batched(jnp.moveaxis(image, -1, 1), state)


def logits_of(model, state):
    """The model as a pure function of the image, in evaluation mode."""
    model = eqx.nn.inference_mode(model)
    return lambda image: forward(model, state, image)[0]


@eqx.filter_jit
def step(model, state, opt_state, key, image, label):
    env = vj.Env(logits=logits_of(model, state))
    sample = VICINITY(key, env, vj.Draw(image, label))

    def loss(model):
        logits, new_state = forward(model, state, sample.image)
        return vj.cross_entropy(logits, sample.label).mean(), new_state

    grads, state = eqx.filter_grad(loss, has_aux=True)(model)
    updates, opt_state = OPTIMIZER.update(grads, opt_state)
    return eqx.apply_updates(model, updates), state, opt_state


def main(epochs: int = 5, batch: int = 128) -> float:
    data = load("digits", val_fraction=0.0, split_seed=0)
    images = jnp.asarray(data.train_images, jnp.float32) / 255.0
    labels = jax.nn.one_hot(data.train_labels, 10)
    model, state = eqx.nn.make_with_state(Net)(jax.random.key(0))
    opt_state = OPTIMIZER.init(eqx.filter(model, eqx.is_inexact_array))
    for epoch in range(epochs):
        key = jax.random.key(epoch)
        order = jax.random.permutation(key, len(images))
        for i in range(len(images) // batch):
            index = order[i * batch : (i + 1) * batch]
            step_key = jax.random.fold_in(key, i)
            model, state, opt_state = step(
                model, state, opt_state, step_key, images[index], labels[index]
            )

    test = jnp.asarray(data.test_images, jnp.float32) / 255.0
    right = logits_of(model, state)(test).argmax(axis=1) == jnp.asarray(data.test_labels)
    print(f"test accuracy {right.mean():.1%}")
    return float(right.mean())


if __name__ == "__main__":
    main()
