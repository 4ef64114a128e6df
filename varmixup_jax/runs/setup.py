"""What all runs of a sweep share: the data, the architecture, the mapping, the compiled measures."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from varmixup_jax import cluster
from varmixup_jax.config import selected_methods, vaes
from varmixup_jax.data import Dataset, crop_and_flip, load
from varmixup_jax.evaluation.conditions import Conditions, conditions
from varmixup_jax.fields import Config
from varmixup_jax.methods import METHODS, build
from varmixup_jax.models import build_classifier, build_vae
from varmixup_jax.models.forward import as_apply, for_measures
from varmixup_jax.models.saved import FILE, Model, load_model
from varmixup_jax.sections import DataConfig, EvalConfig, VaeConfig
from varmixup_jax.training.parallel import Mapping, distribute
from varmixup_jax.types import (
    Array,
    Draw,
    Env,
    Key,
    PyTree,
    Term,
    identity_augment,
    identity_tap,
)
from varmixup_jax.validation import chosen_devices

STEPS_PER_CALL = {"cpu": 8}
STEPS_PER_CALL_ELSEWHERE = 100


class Setup(NamedTuple):
    """Built once; every run of a sweep uses it.

    Attributes:
      config: of the sweep.
      data: train, validation and test splits on the host.
      module: the classifier.
      apply: the classifier as a pure function.
      mapping: over the devices.
      logits: `(variables, image) -> logits` in evaluation mode, in float32 whatever the dtype of
        training: what is measured. One object, so that the compiled measures serve all runs.
      validation_logits: the same in the dtype of training, for validation during training.
      augment: `(key, image) -> image` of the training recipe.
      conditions: the corruptions that are measured; one object for all runs.
      steps_per_call: training steps in one program.
      unseen: the test images of `eval.ood` by the name of that set; {} without one.
    """

    config: Config
    data: Dataset
    module: nn.Module
    apply: Callable[..., tuple[Array, PyTree]]
    mapping: Mapping
    logits: Callable[[PyTree, Array], Array]
    validation_logits: Callable[[PyTree, Array], Array]
    augment: Callable[[Key, Array], Array]
    conditions: Conditions
    steps_per_call: int
    unseen: dict[str, np.ndarray]


def augmentation(pad: int, flip: bool) -> Callable[[Key, Array], Array]:
    """The random crop and flip, or the identity if there is neither."""
    if not pad and not flip:
        return identity_augment
    return partial(crop_and_flip, pad=pad, flip=flip)


def prepare(config: Config) -> Setup:
    """Loads the data and builds what all runs share.

    Raises:
      ValueError: bad data, or fields that do not fit it (resize, batch size against the split).
    """
    data = _loaded(config.data)
    cluster.check_same_everywhere({f"sha256 of {k}": v for k, v in data.digests.items()})
    _check_fit(config, data)
    mean, std = data.channel_stats()
    module = build_classifier(
        config.model.name,
        num_classes=data.num_classes,
        mean=mean,
        std=std,
        width=config.model.width,
        dtype=config.model.dtype,
    )
    logits = _in_evaluation(for_measures(module))
    mapping = distribute(config.parallel.via, chosen_devices(config.parallel))
    platform = jax.devices()[0].platform
    per_call = STEPS_PER_CALL.get(platform, STEPS_PER_CALL_ELSEWHERE)
    return Setup(
        config=config,
        data=data,
        module=module,
        apply=as_apply(module),
        mapping=mapping,
        logits=logits,
        validation_logits=logits if config.model.dtype == "float32" else _in_evaluation(module),
        augment=augmentation(config.data.pad, config.data.flip),
        conditions=_conditions(config.eval, data),
        steps_per_call=config.parallel.steps_per_call or per_call,
        unseen=_unseen(config.eval.ood, data),
    )


def vae_module(vae: VaeConfig, image_shape: tuple[int, int, int]) -> nn.Module:
    """The network of a VAE for images of a shape.

    Raises:
      ValueError: the shape is not a multiple of the size of a latent grid cell.
    """
    return build_vae(
        image_shape,
        latent=vae.latent,
        latent_size=vae.latent_size,
        width=vae.width,
        blocks=vae.blocks,
        downsample=vae.downsample,
        dtype=vae.dtype,
    )


def perceptual_classifier(vae: VaeConfig) -> Model:
    """The frozen classifier whose features a VAE is to keep, `config.vae.perceptual_from`.

    Raises:
      ValueError: it is not a trained classifier.
    """
    where = vae.perceptual_from
    if not where:
        text = f"must be the directory of a trained run, or its {FILE}, where vae.perceptual > 0"
        raise ValueError(f"config.vae.perceptual_from = '': {text}")
    try:
        return load_model(os.path.expanduser(where))
    except ValueError as error:
        raise ValueError(f"config.vae.perceptual_from = {where}: {error}") from None


def _check_classifier(vae: VaeConfig, image_shape: tuple[int, int, int]) -> None:
    if not vae.perceptual:
        return
    found, wanted = perceptual_classifier(vae).about.get("image_shape"), list(image_shape)
    if found != wanted:
        text = f"is of images of shape {found}, must be {wanted}"
        raise ValueError(f"config.vae.perceptual_from = {vae.perceptual_from}: {text}")


def _in_evaluation(module: nn.Module) -> Callable[[PyTree, Array], Array]:
    apply = as_apply(module)

    def logits(variables: PyTree, image: Array) -> Array:
        return apply(*variables, image, train=False, tap=identity_tap)[0]

    return logits


def _check_fit(config: Config, data: Dataset) -> None:
    """Rejects fields that do not fit the images, before anything is written."""
    if config.data.pad >= min(data.image_shape[:2]):
        text = f"must be < {min(data.image_shape[:2])}, the images' size"
        raise ValueError(f"config.data.pad = {config.data.pad}: {text}")
    sizes = {"batch_size": config.batch_size}
    over_vae = [
        method for method in selected_methods(config.method) if METHODS[method].vae != "none"
    ]
    if over_vae:
        sizes["vae.batch_size"] = config.vae.batch_size
        try:
            latent_shape = vae_module(config.vae, data.image_shape).latent_shape
        except ValueError as error:
            text = f"config.vae.downsample = {config.vae.downsample or 0}: {error}"
            raise ValueError(text) from None
        for vae in vaes(config.vae):
            _check_classifier(vae, data.image_shape)
    for method in over_vae:
        _check_latent(method, build(method, **config.methods[method]), data, latent_shape)
    for field, size in sizes.items():
        if size > len(data.train_images):
            text = f"must be <= {len(data.train_images)}, the training images"
            raise ValueError(f"config.{field} = {size}: {text}")


def _check_latent(
    method: str, terms: tuple[Term, ...], data: Dataset, latent_shape: tuple[int, ...]
) -> None:
    """Traces the terms of a method, which raise for latent shapes that they cannot use."""

    def of_shape(*shape: int) -> Callable[[Array], Array]:
        return lambda points: jnp.zeros((points.shape[0], *shape))

    logits, decode = of_shape(data.num_classes), of_shape(*data.image_shape)
    env = Env(logits, of_shape(*latent_shape), decode, latent_std=jnp.ones(latent_shape))

    def sample(key: Key, term: Term) -> Array:
        latent = jnp.zeros((2, *latent_shape))
        return term.vicinity(key, env, Draw(decode(latent), logits(latent), latent=latent)).image

    for term in terms:
        try:
            jax.eval_shape(partial(sample, term=term), jax.random.key(0))
        except ValueError as error:
            raise ValueError(f"config.methods.{method}: {error}") from None


def _conditions(c: EvalConfig, data: Dataset) -> Conditions:
    """Opens and checks the files before anything is trained."""
    where, frost = c.corruptions or "none", c.frost_dir or ""
    try:
        found = conditions(where, data, frost, md5=c.corruptions_md5)
    except ValueError as error:
        raise ValueError(f"config.eval.{error}") from None
    # What is installed, and thus the frost, may differ from host to host.
    cluster.check_same_everywhere({"frost source": found.frost_source})
    return found


def _unseen(source: str | None, data: Dataset) -> dict[str, np.ndarray]:
    """The test images of another data set, resized to the size of this one."""
    if not source:
        return {}
    height, width, channels = data.image_shape
    try:
        other = load(source, val_fraction=0.0, split_seed=0, resize=height)
    except ValueError as error:
        raise ValueError(f"config.eval.ood = {source}: {error}") from None
    if other.image_shape != data.image_shape:
        text = f"must be {height} x {width} x {channels} as those of {data.name}"
        raise ValueError(f"config.eval.ood = {source}: has images {other.image_shape}, {text}")
    return {other.name: other.test_images}


def _loaded(c: DataConfig) -> Dataset:
    try:
        return load(
            c.source,
            data_dir=c.dir,
            val_fraction=c.val_fraction,
            split_seed=c.split_seed,
            limit=c.limit,
            resize=c.resize,
        )
    except ValueError as error:
        field, _, _ = str(error).partition(" = ")
        raise ValueError(f"config.data.{error}" if hasattr(c, field) else str(error)) from error
