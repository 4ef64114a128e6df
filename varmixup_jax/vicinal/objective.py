"""Objectives: the only place where models, vicinities and distances meet.

A training objective is a tuple of `Term`s, and its risk over a batch is

    sum_t  weight_t * mean_i distance_t( f(x'_i), y'_i ),     (x', y') ~ vicinity_t around the batch

the vicinal risk of Chapelle, Weston, Bottou and Vapnik (*Vicinal Risk Minimization*, NIPS 2000, eq. 4)
with one sample per step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from varmixup_jax import checks
from varmixup_jax.losses import soft_accuracy
from varmixup_jax.types import (
    Array,
    Draw,
    Env,
    Key,
    PyTree,
    Tap,
    Term,
    identity_augment,
    identity_tap,
)
from varmixup_jax.vicinal.several_vaes import OtherVAE, sample_over

ATTACK_BN = ("running", "batch")


class Apply(Protocol):
    """A classifier as a pure function.

    Guarantees: logits `[B, K]` float32; the statistics returned for `train=False` are the ones
    given; `tap` is applied to the input as stage 0 and to the output of each residual stage.
    """

    def __call__(
        self, params: PyTree, stats: PyTree, image: Array, *, train: bool, tap: Tap
    ) -> tuple[Array, PyTree]: ...


class Frozen(NamedTuple):
    """What a risk takes as given: pure closures whose variables are not trained.

    Attributes:
      encode: `image -> latent`, a frozen VAE's mean, or None.
      decode: `latent -> image`, or None.
      augment: `(key, image) -> image`, the recipe's random crop and flip.
      others: further VAEs; every step draws one of all, for all terms.
      drawn: whether each "batch" or each "example" draws one.
      latent_std: of the first VAE, see `Env`.
    """

    encode: Callable[[Array], Array] | None = None
    decode: Callable[[Array], Array] | None = None
    augment: Callable[[Key, Array], Array] = identity_augment
    others: tuple[OtherVAE, ...] = ()
    drawn: str = "batch"
    latent_std: Array | None = None


class RiskOutput(NamedTuple):
    """The value of a risk: its loss (float32 scalar), new BatchNorm statistics, and metrics.

    `accuracy` is the soft-label accuracy of the first term: the mean of y'[argmax f(x')].
    """

    loss: Array
    stats: PyTree
    accuracy: Array


Risk = Callable[[PyTree, PyTree, Key, Draw, Frozen], RiskOutput]


def empirical_risk(terms: tuple[Term, ...], apply: Apply, *, attack_bn: str = "running") -> Risk:
    r"""The risk of a tuple of terms as a pure function, to be differentiated in its first argument.

    .. math::
        R(\theta) = \sum_t w_t \, \frac1B \sum_{i=1}^B \mathrm{distance}_t(f_\theta(x_i'), y_i'), \quad
        (x_i', y_i') \sim \mathrm{vicinity}_t(x_i, y_i)

    The batch is augmented once; every term samples its vicinity around the same augmented view, with
    its own key (`fold_in(key, index)`, so that the first term of every method draws the same partners
    and weights). Gradients flow through the model, never through a sample. Each training pass, of a
    term or of several joint ones, updates the running statistics in turn, and the vicinities of the
    next pass see them.

    The first term whose sample is the view itself (`dirac`, `chain(dirac)`, a vicinity that changes
    only labels) provides its logits as `clean_logits` to its own distance and those of later terms.

    Args:
      terms: at least one.
      apply: the classifier.
      attack_bn: BatchNorm mode of the logits that vicinities see: "running" statistics, or those of
        the "batch" (without updating the running ones).

    Returns:
      `risk(params, stats, key, draw, frozen) -> RiskOutput`.

    Raises:
      ValueError: no term, a negative weight, a first term that is joint, or an unknown `attack_bn`;
        when called or traced, a distance to the clean prediction without an earlier term that shows
        the view itself.
    """
    terms = tuple(terms)
    if not terms:
        raise ValueError("terms = (): an objective needs at least one term")
    for term in terms:
        checks.non_negative(weight=term.weight)
    if terms[0].joint:
        raise ValueError("joint = True: the first term has none before it")
    checks.one_of(ATTACK_BN, attack_bn=attack_bn)

    def risk(params: PyTree, stats: PyTree, key: Key, draw: Draw, frozen: Frozen) -> RiskOutput:
        term_keys = jax.random.fold_in(key, 0)
        view = draw._replace(image=frozen.augment(jax.random.fold_in(key, 1), draw.image))
        shape = () if frozen.drawn == "batch" else draw.label.shape[:1]
        which = jax.random.randint(jax.random.fold_in(key, 2), shape, 0, 1 + len(frozen.others))
        fixed = jax.lax.stop_gradient(params)
        loss, clean_logits, accuracy = jnp.zeros((), jnp.float32), None, None
        for indices in _passes(terms):
            seen = jax.lax.stop_gradient(stats)

            def logits_of(image: Array, seen: PyTree = seen) -> Array:
                train = attack_bn == "batch"
                return apply(fixed, seen, image, train=train, tap=identity_tap)[0]

            env = Env(logits_of, frozen.encode, frozen.decode, frozen.augment, frozen.latent_std)
            samples = []
            for index in indices:
                term_key = jax.random.fold_in(term_keys, index)
                vicinity = terms[index].vicinity
                samples.append(sample_over(term_key, vicinity, env, view, frozen.others, which))
            together = _together(samples)
            image = jax.lax.stop_gradient(together.image)
            joint, stats = apply(params, stats, image, train=True, tap=together.tap)
            for index, sample, logits in zip(
                indices, samples, _apart(joint, len(samples)), strict=True
            ):
                label = jax.lax.stop_gradient(sample.label)
                if clean_logits is None and _shows(sample, view):
                    clean_logits = logits
                distance = terms[index].distance(logits, label, clean_logits)
                loss = loss + terms[index].weight * jnp.mean(distance)
                if accuracy is None:
                    accuracy = jnp.mean(soft_accuracy(logits, label))
        assert accuracy is not None  # there is a first term
        return RiskOutput(loss, stats, accuracy)

    return risk


def _passes(terms: tuple[Term, ...]) -> list[list[int]]:
    """The indices of the terms of each pass through the model."""
    passes: list[list[int]] = []
    for index, term in enumerate(terms):
        if term.joint:
            passes[-1].append(index)
        else:
            passes.append([index])
    return passes


def _together(samples: list[Draw]) -> Draw:
    """Several samples as one, interleaved example by example so that each stays on its device."""
    if len(samples) == 1:
        return samples[0]

    def tap(stage: int, hidden: Array) -> Array:
        parts = _apart(hidden, len(samples))
        tapped = [s.tap(stage, part) for s, part in zip(samples, parts, strict=True)]
        return jnp.stack(tapped, axis=1).reshape(hidden.shape)

    image = jnp.stack([sample.image for sample in samples], axis=1)
    plain = all(sample.tap is identity_tap for sample in samples)
    return Draw(
        image.reshape(-1, *image.shape[2:]), samples[0].label, identity_tap if plain else tap
    )


def _apart(joint: Array, count: int) -> list[Array]:
    """The inverse of `_together`, for an array."""
    parts = joint.reshape(-1, count, *joint.shape[1:])
    return [parts[:, i] for i in range(count)]


def _shows(sample: Draw, view: Draw) -> bool:
    """Whether a sample shows the model the view itself: the same arrays, not just equal ones.

    It checks what a vicinity returned, so that it does not matter how the vicinity is written.
    """
    return sample.image is view.image and sample.tap is view.tap
