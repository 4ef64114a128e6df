"""A small classifier, VAE and data set that several test files train."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax import models
from varmixup_jax.methods import METHODS, build
from varmixup_jax.models.forward import as_apply, as_vae
from varmixup_jax.models.resnet import ResNet
from varmixup_jax.training.classifier_loss import classifier_loss
from varmixup_jax.training.optim import make_optimizer, make_schedule
from varmixup_jax.training.step import init_state, make_run, make_step
from varmixup_jax.types import identity_augment
from varmixup_jax.vicinal.objective import empirical_risk

EXAMPLES, BATCH, CLASSES, SHAPE = 64, 16, 4, (8, 8, 1)
# Attacks of two steps, and one view, keep the methods quick; all else compiles the same.
QUICK = {"at": {"steps": 2}, "trades": {"steps": 2}, "iat": {"steps": 2}, "noisymix": {"views": 1}}


@functools.cache
def parts():
    """Module, apply, variables, vae, its parameters, and the data set."""
    # Two stages, the second of half the resolution: all that a residual network has.
    module = ResNet(num_classes=CLASSES, mean=(0.5,), std=(0.25,), blocks=(1, 1), width=4)
    image = jax.ShapeDtypeStruct((1, *SHAPE), jnp.float32)
    variables = models.init(jax.random.key(1), module, image, train=False)
    vae_module = models.build_vae(SHAPE, latent_size=2, width=4, blocks=0)
    vae_params = models.init(jax.random.key(2), vae_module, image)["params"]
    rng = np.random.default_rng(0)
    labels = (np.arange(EXAMPLES) % CLASSES).astype(np.int32)
    images = (60 * labels[:, None, None, None] + rng.integers(0, 60, (EXAMPLES, *SHAPE))).astype(
        np.uint8
    )
    return module, as_apply(module), variables, as_vae(vae_module), vae_params, images, labels


def make(method, mapping, *, ema_decay=0.0, **settings):
    """`(run, state, fixed)` for a method, with other settings than its own, under a mapping."""
    _, apply, variables, vae, vae_params, images, labels = parts()
    risk = empirical_risk(build(method, **QUICK.get(method, {}) | settings), apply)
    uses_vae = METHODS[method].vae != "none"
    loss = classifier_loss(
        risk, num_classes=CLASSES, augment=identity_augment, vae=vae if uses_vae else None
    )
    schedule = make_schedule("constant", learning_rate=0.05, total_steps=10)
    tx = make_optimizer("sgd", schedule, weight_decay=5e-4)
    state = init_state(variables["params"], variables["batch_stats"], tx, ema_decay=ema_decay)
    fixed = {"images": images, "labels": labels}
    if uses_vae:
        image = jnp.asarray(images, jnp.float32) / 255.0
        latents = np.asarray(vae.encode(vae_params, image)[0])
        fixed |= {"vae": vae_params, "latents": latents}
    step = make_step(loss, tx, ema_decay=ema_decay, axis_name=mapping.axis_name)
    return mapping.compile(make_run(step)), mapping.replicate(state), mapping.replicate(fixed)


def order(steps):
    """int32 `[steps, BATCH]`."""
    rng = np.random.default_rng(1)
    return np.stack([rng.permutation(EXAMPLES)[:BATCH] for _ in range(steps)]).astype(np.int32)


def set_fields(config, **fields):
    """Changes fields of a configuration, `data__limit=10` for `config.data.limit`; returns it."""
    for name, value in fields.items():
        section = config
        *sections, last = name.split("__")
        for part in sections:
            section = section[part]
        section[last] = value
    return config
