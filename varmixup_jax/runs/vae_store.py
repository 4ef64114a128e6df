"""The VAE of an experiment: trained once per data set and configuration, then frozen and reused.

It is stored under a key made of everything it depends on (its section of the configuration, the
training images, the flip), together with the encoder's means of the whole training split.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax import cluster, models
from varmixup_jax.atomic_files import loads, obstacle, replacing
from varmixup_jax.compilation import user_cache
from varmixup_jax.config import NOT_OF_ONE_VAE, selected_methods, vaes
from varmixup_jax.declare import plain
from varmixup_jax.evaluation.tally import Put, map_batches, to_pixels
from varmixup_jax.models.forward import VAE, Decode, Encode, as_vae
from varmixup_jax.runs import run_directory
from varmixup_jax.runs.resume import Task, fitted
from varmixup_jax.runs.setup import Setup, augmentation, perceptual_classifier, vae_module
from varmixup_jax.runs.speaker import speaker
from varmixup_jax.sections import VaeConfig
from varmixup_jax.training.checkpoints import digest
from varmixup_jax.training.heartbeat import Heartbeat
from varmixup_jax.training.loop import make_plan
from varmixup_jax.training.optim import make_optimizer, make_schedule
from varmixup_jax.training.step import evaluated, init_state
from varmixup_jax.training.vae_loss import Adversary, psnr, vae_loss
from varmixup_jax.types import Array, PyTree

PARTS = ("checkpoints", "latents.npy", "vae.json")  # of a finished VAE; the last is written last
SPREAD_OVER = 1000  # training images over which the posterior's variance is averaged
FORMAT = 1  # increase when a stored VAE of an older version must not be used


def store_root(store: str | None) -> Path:
    """Where trained VAEs are kept: `config.vae.store`, or the user's cache directory.

    Raises:
      ValueError: it does not exist and cannot be created.
    """
    cache = user_cache()
    root = Path(os.path.expanduser(store)) if store else cache and cache / "vae"
    if root is None or (not root.is_dir() and obstacle(root)):
        text = "must be a directory that is there or can be made"
        raise ValueError(f"config.vae.store = {store or ''!r}: {text}")
    return root


def vae_key(setup: Setup, kind: str) -> str:
    """The VAE's name in the store, made from everything it depends on."""
    config, fields = setup.config, _own_fields(setup.config.vae)
    if config.vae.perceptual:
        classifier = perceptual_classifier(config.vae)
        weights = digest((classifier.params, classifier.stats))
        fields["perceptual_from"] = [weights, classifier.about["classifier"]]
    else:  # the same key as before these fields existed
        del fields["perceptual"], fields["perceptual_from"]
    if kind == "standard":
        del fields["adversary"]
    mapping = setup.mapping
    # Under jit the number of devices changes only rounding.
    via = [mapping.via, mapping.devices if mapping.via == "pmap" else 0]
    parts = [FORMAT, kind, fields, config.data.flip, setup.data.fingerprint, via]
    text = json.dumps(parts, sort_keys=True)
    return f"{setup.data.name}-{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def obtain_all(setup: Setup, kind: str) -> VAE:
    """The VAE of this configuration with those of `config.vae.others`; see `obtain`."""
    config = setup.config
    each = (setup._replace(config=replace(config, vae=vae)) for vae in vaes(config.vae))
    first, *others = (obtain(own, kind) for own in each)
    if not others:
        return first
    info = {**first.info, "others": [other.info for other in others]}
    return first._replace(info=info, others=tuple(others))


def obtain(setup: Setup, kind: str) -> VAE:
    """The VAE of this configuration: loaded if it is in the store, else trained into it.

    Interrupted training resumes from its last checkpoint. If two processes want the same VAE, the
    second prints that it waits, then loads it. A finished VAE is read without a lock, so a read-only
    store works too.

    Raises:
      ValueError: fields of `config.vae` that do not fit the images.
      NonFiniteError: its loss stopped being finite.
    """
    config, key = setup.config, vae_key(setup, kind)
    directory = store_root(config.vae.store) / key
    say = speaker(config.quiet)

    def waiting(holder: str) -> None:
        say(f"VAE {key}: waiting for {holder}, which is training it")

    finished = cluster.on_lead(lambda: all((directory / name).exists() for name in PARTS))
    with nullcontext() if finished else run_directory.claimed(directory, waiting=waiting):
        vae, seconds = _trained(setup, kind, directory)
        with Heartbeat(say, f"VAE {key}: encoding and decoding the images"):
            batch_size = config.eval.batch_size
            put, latent_file = setup.mapping.shard_batch, directory / "latents.npy"
            latents = _latents(vae, setup.data.train_images, latent_file, batch_size, put)
            info_path = directory / "vae.json"
            info = cluster.on_lead(lambda: _read(info_path))
            if info is None:
                restored = reconstruct(vae, setup.data.test_images, batch_size, put)
                error = np.square(restored - setup.data.test_images / np.float32(255)).mean()
                info = {
                    "key": key,
                    "kind": kind,
                    "psnr": float(psnr(jnp.asarray(error, jnp.float32))),
                    "wall_seconds": seconds,
                    "config": _own_fields(config.vae),
                }
                run_directory.write(directory, vae=info)
    if any(config.methods[name].get("latent_noise") for name in selected_methods(config.method)):
        images = setup.data.train_images[:SPREAD_OVER]
        vae = vae._replace(latent_std=posterior_std(vae, images, batch_size, put))
    return vae._replace(latents=latents, info=info)


def _trained(setup: Setup, kind: str, directory: Path) -> tuple[VAE, float]:
    config, c, data = setup.config, setup.config.vae, setup.data
    module = vae_module(config.vae, data.image_shape)
    vae = as_vae(module)
    adversary = Adversary(**plain(c.adversary)) if kind == "adversarial" else None
    fixed: dict[str, PyTree] = {"images": data.train_images}
    classifier = perceptual_classifier(c) if c.perceptual else None
    if classifier is not None:
        fixed["classifier"] = (classifier.params, classifier.stats)
    loss = vae_loss(
        vae,
        gamma=c.gamma,
        kernel=c.kernel,
        bandwidth=c.bandwidth,
        estimator=c.estimator,
        augment=augmentation(0, config.data.flip),
        adversary=adversary,
        perceptual=c.perceptual,
        classifier=classifier.apply if classifier else None,
    )
    plan = make_plan(
        examples=len(data.train_images),
        batch_size=c.batch_size,
        epochs=c.epochs,
        steps_per_call=setup.steps_per_call,
        eval_epochs=max(1.0, c.epochs / 10),
    )
    schedule = make_schedule(
        "cosine", learning_rate=c.learning_rate, total_steps=plan.total_steps, warmup=0.05
    )
    tx = make_optimizer("adamw", schedule, weight_decay=c.weight_decay)
    init_key, run_key = jax.random.split(jax.random.key(c.seed))
    image = jax.ShapeDtypeStruct((1, *data.image_shape), jnp.float32)
    with Heartbeat(speaker(config.quiet), f"VAE ({kind}): drawing the first weights"):
        params = models.init(init_key, module, image)["params"]
    task = Task(
        f"VAE ({kind})",
        loss,
        tx,
        c.ema_decay,
        init_state(params, {}, tx, ema_decay=c.ema_decay),
        fixed,
        plan,
        run_key,
        c.seed,
    )
    began = time.monotonic()
    flat, quiet = config.parallel.flat, config.quiet
    trained = fitted(task, directory, setup.mapping, flat=flat, quiet=quiet)
    params, _ = evaluated(trained.last)
    frozen = vae._replace(params=jax.tree.map(np.asarray, params))
    return frozen, time.monotonic() - began


def _latents(
    vae: VAE,
    images: np.ndarray,
    path: Path,
    batch_size: int,
    put: Put = jnp.asarray,
) -> np.ndarray:
    if cluster.on_lead(path.exists):
        try:
            return np.load(path, allow_pickle=False)
        except Exception as error:  # numpy documents no set of errors for damaged files
            raise ValueError(f"{path}: damaged; remove it and it is recomputed") from error
    fn = partial(_means, vae.encode, vae.params)
    means = map_batches(fn, [images], batch_size=batch_size, put=put)

    def keep() -> None:
        with replacing(path) as file:
            np.save(file, means, allow_pickle=False)

    cluster.on_lead(keep)
    return means


def reconstruct(
    vae: VAE, images: np.ndarray, batch_size: int, put: Put = jnp.asarray
) -> np.ndarray:
    """D(mu(x)) of uint8 images, float32 `[N, H, W, C]` in [0, 1]."""
    fn = partial(_reconstructed, vae.encode, vae.decode, vae.params)
    return map_batches(fn, [images], batch_size=batch_size, put=put)


def posterior_std(
    vae: VAE, images: np.ndarray, batch_size: int, put: Put = jnp.asarray
) -> np.ndarray:
    """sqrt(E_x Var q(z_d | x)) over uint8 images, float32 `[*latent_shape]`."""
    fn = partial(_variances, vae.encode, vae.params)
    variances = map_batches(fn, [images], batch_size=batch_size, put=put)
    return np.asarray(np.sqrt(variances.mean(axis=0)))


@partial(jax.jit, static_argnums=0)
def _variances(encode: Encode, params: PyTree, image: Array) -> Array:
    return jnp.exp(2.0 * encode(params, to_pixels(image))[1].astype(jnp.float32))


@partial(jax.jit, static_argnums=0)
def _means(encode: Encode, params: PyTree, image: Array) -> Array:
    return encode(params, to_pixels(image))[0].astype(jnp.float32)


@partial(jax.jit, static_argnums=(0, 1))
def _reconstructed(encode: Encode, decode: Decode, params: PyTree, image: Array) -> Array:
    mean, _ = encode(params, to_pixels(image))
    return decode(params, mean).astype(jnp.float32)


def _own_fields(vae: VaeConfig) -> dict[str, Any]:
    """The section's fields that define this VAE alone (not where it is stored, nor the other VAEs),
    as JSON values."""
    own = {name: value for name, value in plain(vae).items() if name not in NOT_OF_ONE_VAE}
    return json.loads(json.dumps(own))


def _read(path: Path) -> dict[str, Any] | None:
    return loads(path.read_text(encoding="utf-8")) if path.exists() else None
