"""What the benchmarks run on our side: a classifier, a VAE, a data set of noise, and their steps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.settings import (
    CLASSES,
    GAMMA,
    LEARNING_RATE,
    MEAN,
    MOMENTUM,
    STD,
    WEIGHT_DECAY,
    Net,
)
from varmixup_jax import models
from varmixup_jax.methods import METHODS, build
from varmixup_jax.models.forward import as_apply, as_vae
from varmixup_jax.training.classifier_loss import classifier_loss
from varmixup_jax.training.optim import make_optimizer, make_schedule
from varmixup_jax.training.step import Loss, Step, init_state, make_step
from varmixup_jax.training.vae_loss import Adversary, vae_loss
from varmixup_jax.types import Array, PyTree, TrainState, identity_augment, identity_tap
from varmixup_jax.vicinal.objective import empirical_risk

KEY = 0


class Case(NamedTuple):
    """One architecture with its data.

    Attributes:
      vae_width, vae_blocks, latent_size: of the VAE.
      size: pixels per side.
      module, apply, variables: the classifier.
      vae_module, vae, vae_params: the VAE.
      images, labels: uint8 `[N, H, W, 3]` and int32 `[N]` on the host.
      latents: float32 `[N, h, w, c]`, noise instead of the encoder's means.
    """

    vae_width: int
    vae_blocks: int
    latent_size: int
    size: int
    module: nn.Module
    apply: Callable[..., tuple[Array, PyTree]]
    variables: PyTree
    vae_module: nn.Module
    vae: Any
    vae_params: PyTree
    images: np.ndarray
    labels: np.ndarray
    latents: np.ndarray


@functools.lru_cache(maxsize=4)
def make_case(
    net: Net,
    *,
    dtype: str = "float32",
    examples: int = 512,
    vae_width: int | None = None,
    vae_blocks: int = 1,
    latent_size: int = 8,
) -> Case:
    """A `Case` with random parameters and images; the VAE's width is the net's first by default."""
    size, vae_width = net.size, vae_width or net.vae_widths[0]
    module = models.build_classifier(
        net.classifier, num_classes=CLASSES, mean=MEAN, std=STD, width=net.width, dtype=dtype
    )
    vae_module = models.build_vae(
        (size, size, 3), latent_size=latent_size, width=vae_width, blocks=vae_blocks, dtype=dtype
    )
    shape = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    rng = np.random.default_rng(KEY)
    vae = as_vae(vae_module)
    return Case(
        vae_width,
        vae_blocks,
        latent_size,
        size,
        module,
        as_apply(module),
        models.init(jax.random.key(1), module, shape, train=False),
        vae_module,
        vae,
        models.init(jax.random.key(2), vae_module, shape)["params"],
        rng.integers(0, 256, (examples, size, size, 3), np.uint8),
        rng.integers(0, CLASSES, examples).astype(np.int32),
        rng.normal(size=(examples, *vae.latent_shape)).astype(np.float32),
    )


def optimizer() -> Any:
    """SGD with momentum and coupled weight decay, as in the peers."""
    schedule = make_schedule("constant", learning_rate=LEARNING_RATE, total_steps=1000)
    return make_optimizer("sgd", schedule, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)


def method_parts(case: Case, method: str, **settings: Any) -> tuple[Loss, TrainState, PyTree]:
    """`(loss, state, fixed)` of a method.

    Args:
      case: the architecture.
      method: one of `METHODS`.
      **settings: of the method.
    """
    risk = empirical_risk(build(method, **settings), case.apply)
    uses_vae = METHODS[method].vae != "none"
    loss = classifier_loss(
        risk,
        num_classes=CLASSES,
        augment=identity_augment,
        vae=case.vae if uses_vae else None,
    )
    fixed = {"images": case.images, "labels": case.labels}
    if uses_vae:
        fixed |= {"vae": case.vae_params, "latents": case.latents}
    params, stats = case.variables["params"], case.variables["batch_stats"]
    return loss, init_state(*jax.tree.map(jnp.copy, (params, stats)), optimizer()), fixed


def vae_parts(
    case: Case,
    *,
    kernel: str = "rbf",
    adversary: Adversary | None = None,
    perceptual: float = 0.0,
) -> tuple[Loss, TrainState, PyTree]:
    """`(loss, state, fixed)` of the MMD-VAE with the same optimiser.

    With `perceptual` > 0 the features are those of the case's classifier.
    """
    loss = vae_loss(
        case.vae,
        gamma=GAMMA,
        kernel=kernel,
        augment=identity_augment,
        adversary=adversary,
        perceptual=perceptual,
        classifier=case.apply,
    )
    state = init_state(jax.tree.map(jnp.copy, case.vae_params), {}, optimizer())
    fixed = {"images": case.images}
    if perceptual:
        fixed["classifier"] = (case.variables["params"], case.variables["batch_stats"])
    return loss, state, fixed


def step_parts(
    case: Case, method: str, *, axis_name: str | None = None, **settings: Any
) -> tuple[Step, TrainState, PyTree]:
    """`(step, state, fixed)` of a method under a mapped axis: what `make_run` and `jax.jit` take."""
    loss, state, fixed = method_parts(case, method, **settings)
    return make_step(loss, optimizer(), axis_name=axis_name), state, fixed


def vae_step_parts(case: Case, **settings: Any) -> tuple[Step, TrainState, PyTree]:
    """`(step, state, fixed)` of the MMD-VAE."""
    loss, state, fixed = vae_parts(case, **settings)
    return make_step(loss, optimizer()), state, fixed


def batches(case: Case, batch: int, count: int) -> np.ndarray:
    """int32 `[count, batch]`: which examples each of `count` steps sees."""
    rng = np.random.default_rng(KEY + 1)
    return np.stack([rng.permutation(len(case.images))[:batch] for _ in range(count)]).astype(
        np.int32
    )


def single_steps(parts: tuple[Step, TrainState, PyTree], order: np.ndarray) -> Callable[[], None]:
    """A call that trains one step of the given parts and waits for it; the state is donated."""
    step, state, fixed = parts
    run = jax.jit(step, donate_argnums=0)
    fixed = jax.device_put(fixed)
    key, index = jax.random.key(KEY), jax.device_put(order[0])
    held = [state]

    def call() -> None:
        held[0], metrics = run(held[0], fixed, index, key)
        jax.block_until_ready((held[0], metrics))

    return call


def image_batch(case: Case, batch: int) -> tuple[Array, Array]:
    """float32 images in [0, 1] and one-hot labels, on the device."""
    images = jnp.asarray(case.images[:batch], jnp.float32) / 255
    return images, jax.nn.one_hot(case.labels[:batch], CLASSES, dtype=jnp.float32)


def logits(case: Case) -> Callable[[PyTree, Array], Array]:
    """`(variables, image) -> logits` in evaluation mode, one object per case."""
    return functools.partial(_logits, case.apply)


def _logits(apply: Callable[..., tuple[Array, PyTree]], variables: PyTree, image: Array) -> Array:
    params, stats = variables["params"], variables["batch_stats"]
    return apply(params, stats, image, train=False, tap=identity_tap)[0]
