"""A recipe for a small data set, for the tests of the VAE's store and of its key."""

import field_toys
import numpy as np
from toy import set_fields

from varmixup_jax.config import base_config, freeze
from varmixup_jax.runs import vae_store


def small(folder, name="set", changed=None, **fields):
    """A recipe for a data set of 24 training and 12 test images, one of them changed in a pixel."""
    rng = np.random.default_rng(0)
    labels = (np.arange(24) % 3).astype(np.int32)
    images = rng.integers(0, 250, (36, *field_toys.SHAPE)).astype(np.uint8)
    if changed is not None:
        images[changed, 2, 3, 1] += 1
    parts = {"x_train": images[:24], "x_test": images[24:]}
    np.savez(folder / f"{name}.npz", **parts, y_train=labels, y_test=labels[:12])
    c = base_config()
    c.quiet = True
    c.data.source = f"npz:{folder / name}.npz"
    c.data.val_fraction = 0.0
    c.model.name, c.batch_size, c.parallel.devices = "resnet8", 8, 1
    c.vae.batch_size, c.vae.epochs, c.vae.ema_decay = 8, 2.0, 0.6
    c.vae.store = str(folder / "store")
    c.eval.batch_size = 7  # no divisor of either split
    return set_fields(c, **fields)


def vae_key(config, setup, kind):
    return vae_store.vae_key(setup._replace(config=freeze(config)), kind)


def with_fields(config, **fields):
    return set_fields(config.copy_and_resolve_references(), **fields)
