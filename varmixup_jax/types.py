"""Types shared by all packages: a batch, a vicinal draw, what a vicinity can access.

Shapes use B (batch), H, W, C (image), K (classes). Images are float32 in [0, 1] (NHWC); labels are
probability rows. Nothing here computes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
from jax.tree_util import Partial

Array = jax.Array
Key = jax.Array  # a typed key, jax.random.key(seed)
Tap = Callable[[int, Array], Array]  # (stage, hidden) -> hidden, same shape and dtype
PyTree = Any


def _identity(stage: int, hidden: Array) -> Array:
    del stage
    return hidden


identity_tap = Partial(_identity)
"""The tap that changes nothing."""


def identity_augment(key: Key, image: Array) -> Array:
    """The augmentation that changes nothing."""
    del key
    return image


class Draw(NamedTuple):
    """A batch of samples: the training batch itself, or one sample of a vicinal distribution.

    A pytree that `jit`, `scan` and `checkpoint` take and return, as long as `tap` is one: your own
    tap with arrays must be a `jax.tree_util.Partial(function, *arrays)`, not a closure.

    Attributes:
      image: float32 `[B, H, W, C]` in [0, 1]: the (augmented) view that the model gets.
      label: float32 `[B, K]`, each row a probability distribution.
      tap: applied by the model to its input (stage 0) and to the output of each residual stage
        (stage 1, 2, ...); `mix_hidden` mixes hidden activations through it.
      latent: `[B, ...]` the encoder's mean of the *un-augmented* examples where it is known (cached
        for the whole training set), else None. A vicinity that changes `image` sets it to None.
      stage: int32 `[]`, the one stage at which `tap` changes anything, if a vicinity drew one, else
        None. `noisy_hidden` later in the same chain acts at that stage.
    """

    image: Array
    label: Array
    tap: Tap = identity_tap
    latent: Array | None = None
    stage: Array | None = None


class Env(NamedTuple):
    """All that a vicinity may use of the models: pure closures over the current variables.

    Attributes:
      logits: `image [B, H, W, C] -> logits [B, K]` float32, in evaluation mode (running BatchNorm
        statistics) unless the run asks for `attack_bn="batch"`.
      encode: `image -> latent [B, ...]`, the mean of q(z|x) of a frozen VAE, or None without one.
      decode: `latent -> image` in [0, 1], the mean of p(x|z), or None without a VAE.
      augment: `(key, image) -> image`, the random crop and flip of the training recipe. It is
        applied after decoding a cached latent, so that decoded samples are augmented as pixels are.
      latent_std: float `[...]`, shape of one latent: the spread of q(z|x) in each coordinate, the unit
        of `vicinal.mixing.noisy_latents`, or None. The trainer provides it for methods whose setting
        `latent_noise` is above 0.
    """

    logits: Callable[[Array], Array]
    encode: Callable[[Array], Array] | None = None
    decode: Callable[[Array], Array] | None = None
    augment: Callable[[Key, Array], Array] = identity_augment
    latent_std: Array | None = None


class Vicinity(Protocol):
    """One sample of a vicinal distribution around each example of a batch.

    Guarantees, each tested for every registered method:
      * shapes and dtypes of `image` and `label` are kept;
      * label rows sum to 1, pixels stay in [0, 1];
      * mixing with weight 1, or attacking with radius 0, returns its input;
      * the labels enter linearly;
      * the same key gives the same sample.
    """

    def __call__(self, key: Key, env: Env, draw: Draw) -> Draw: ...


class Distance(Protocol):
    """How far a prediction is from what it should be: `-> [B]`, float32, per example.

    `clean_logits` are the training-mode logits of the unchanged batch, if this term or an earlier one
    of the same objective computed them, else None; see `vicinal.objective.empirical_risk`.
    """

    def __call__(self, logits: Array, label: Array, clean_logits: Array | None) -> Array: ...


class Term(NamedTuple):
    """One summand of an objective: `weight * mean_B distance(model(vicinity(batch)))`.

    A `joint` term goes through the model in one batch with the term before it: BatchNorm normalises
    both with common statistics.
    """

    weight: float
    vicinity: Vicinity
    distance: Distance
    joint: bool = False


class TrainState(NamedTuple):
    """Everything that training changes; a pytree of arrays only.

    Attributes:
      step: int32 `[]`, steps taken so far. With the run's seed it *is* the position in the data
        and in the randomness: there is no iterator state to save.
      params: float32 leaves.
      stats: BatchNorm running statistics (an empty dict for a model without any).
      opt_state: of the optax transformation.
      ema: exponential moving averages `(params, stats)`, with the same structures; () if none is
        kept.
    """

    step: Array
    params: PyTree
    stats: PyTree
    opt_state: PyTree
    ema: PyTree
