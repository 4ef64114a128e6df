"""What all runs of a sweep share: the data, the architecture, the mapping, the compiled measures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from varmixup_jax import corruptions
from varmixup_jax.data import Dataset, crop_and_flip, load
from varmixup_jax.models import build_classifier
from varmixup_jax.models.forward import as_apply
from varmixup_jax.training.parallel import Mapping, distribute
from varmixup_jax.types import Array, Key, PyTree, identity_augment, identity_tap

STEPS_PER_CALL = {"cpu": 8}
STEPS_PER_CALL_ELSEWHERE = 100


class Setup(NamedTuple):
    """Built once; every run of a sweep uses it.

    Attributes:
      data: train, validation and test splits on the host.
      module: the classifier.
      apply: the classifier as a pure function.
      mapping: over the devices.
      logits: `(variables, image) -> logits` in evaluation mode; one object, so that the compiled
        measures serve all runs.
      augment: `(key, image) -> image` of the training recipe.
      corrupt: `(name, key, images, severity) -> images` with the table for these images; one object,
        so that each corruption is compiled once for all runs.
      steps_per_call: training steps in one program.
    """

    data: Dataset
    module: nn.Module
    apply: Callable[..., tuple[Array, PyTree]]
    mapping: Mapping
    logits: Callable[[PyTree, Array], Array]
    augment: Callable[[Key, Array], Array]
    corrupt: Callable[[str, Key, Array, Array], Array]
    steps_per_call: int


def chosen_devices(config: ConfigDict) -> list[jax.Device]:
    """The devices to use.

    Raises:
      ValueError: more are asked for than there are.
    """
    devices, wanted = jax.devices(), config.parallel.devices
    if not 0 <= wanted <= len(devices):
        text = f"must lie in [0, {len(devices)}], the devices there are"
        raise ValueError(f"config.parallel.devices = {wanted}: {text}")
    return devices[: wanted or len(devices)]


def augmentation(pad: int, flip: bool) -> Callable[[Key, Array], Array]:
    """The random crop and flip, or the identity where there is neither."""
    if not pad and not flip:
        return identity_augment
    return partial(crop_and_flip, pad=pad, flip=flip)


def prepare(config: ConfigDict) -> Setup:
    """Loads the data and builds what all runs share.

    Raises:
      ValueError: bad data, or fields that do not fit it (resize, batch size against the split).
    """
    data = load(
        config.data.source,
        data_dir=config.data.dir or None,
        val_fraction=config.data.val_fraction,
        split_seed=config.data.split_seed,
        limit=config.data.limit or None,
        resize=config.data.resize or None,
    )
    mean, std = data.channel_stats()
    module = build_classifier(
        config.model.name,
        num_classes=data.num_classes,
        mean=mean,
        std=std,
        width=config.model.width or None,
        dtype=config.model.dtype,
    )
    if config.data.pad >= min(data.image_shape[:2]):
        text = f"must be < {min(data.image_shape[:2])}, the images' size"
        raise ValueError(f"config.data.pad = {config.data.pad}: {text}")
    apply = as_apply(module)

    def logits(variables: PyTree, image: Array) -> Array:
        return apply(*variables, image, train=False, tap=identity_tap)[0]

    mapping = distribute(config.parallel.via, chosen_devices(config))
    platform = jax.devices()[0].platform
    per_call = STEPS_PER_CALL.get(platform, STEPS_PER_CALL_ELSEWHERE)
    return Setup(
        data,
        module,
        apply,
        mapping,
        logits,
        augmentation(config.data.pad, config.data.flip),
        partial(
            corruptions.corrupt, table="cifar" if data.image_shape[0] <= 32 else "tiny_imagenet"
        ),
        config.parallel.steps_per_call or per_call,
    )
