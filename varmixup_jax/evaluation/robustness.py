"""Adversarial accuracy, per example, so that attacks can be combined into a pointwise worst case.

An example counts as correct only if the clean image and every attacked image of it are classified
correctly. The classifier is in evaluation mode: `logits` closes over its running statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from varmixup_jax import checks
from varmixup_jax.attacks.apgd import apgd
from varmixup_jax.attacks.balls import Ball
from varmixup_jax.attacks.pgd import linf, pgd
from varmixup_jax.attacks.search import Attacked, Loss
from varmixup_jax.losses import cross_entropy, dlr
from varmixup_jax.types import Array, Key

Logits = Callable[[Array], Array]
"""`image [B, H, W, C] -> logits [B, K]`."""

LINF_8 = linf(8 / 255)
"""The usual threat model on CIFAR: every pixel value may change by 8/255."""

LOSSES = {"ce": cross_entropy, "dlr": dlr}


def is_correct(logits: Array, label: Array) -> Array:
    """Whether the predicted class is the label's, bool `[B]`; a row with a NaN is wrong.

    Args:
      logits, label: `[B, K]`; the label's class is its argmax.
    """
    same = jnp.argmax(logits, axis=-1) == jnp.argmax(label, axis=-1)
    return same & ~jnp.any(jnp.isnan(logits), axis=-1)


def pgd_correct(
    logits: Logits,
    image: Array,
    label: Array,
    *,
    key: Key,
    ball: Ball = LINF_8,
    steps: int = 20,
    step_size: float | Array = 2 / 255,
    restarts: int = 1,
) -> Array:
    """Which examples withstand projected gradient ascent on the cross-entropy.

    Each start ends at its iterate of largest loss; one misclassified end point suffices.

    Args:
      logits: the classifier.
      image: floating `[B, H, W, C]` in [0, 1].
      label: `[B, K]`.
      key: for the starting points.
      ball, steps, step_size, restarts: as in `attacks.pgd.pgd`.

    Returns:
      bool `[B]`.

    Raises:
      TypeError: an integer image. ValueError: an argument out of range.

    References:
      Madry et al., *Towards Deep Learning Models Resistant to Adversarial Attacks*, ICLR 2018.
    """
    run = partial(pgd, ball=ball, steps=steps, step_size=step_size, keep="best")
    return _withstands(key, run, logits, image, label, cross_entropy, restarts)


def apgd_correct(
    logits: Logits,
    image: Array,
    label: Array,
    *,
    key: Key,
    ball: Ball = LINF_8,
    steps: int = 100,
    restarts: int = 1,
    losses: Sequence[str] = ("ce", "dlr"),
) -> Array:
    """Which examples withstand Auto-PGD on each of several losses.

    Args:
      logits: the classifier.
      image: floating `[B, H, W, C]` in [0, 1].
      label: `[B, K]`; "dlr" needs K >= 3.
      key: for the starting points.
      ball, steps: as in `attacks.apgd.apgd`.
      restarts: independent starts for each loss.
      losses: at least one of "ce", "dlr".

    Returns:
      bool `[B]`.

    Raises:
      TypeError: an integer image. ValueError: an argument out of range.

    References:
      Croce and Hein, *Reliable evaluation of adversarial robustness*, ICML 2020.
    """
    if not losses:
        raise ValueError("losses = (): needs at least one of ce, dlr")
    for name in losses:
        checks.one_of(LOSSES, losses=name)
    run = partial(apgd, ball=ball, steps=steps)
    keys = jax.random.split(key, len(losses))
    return worst_case(
        *(
            _withstands(keys[index], run, logits, image, label, LOSSES[name], restarts)
            for index, name in enumerate(losses)
        )
    )


def worst_case(*correct: Array) -> Array:
    """Pointwise worst case over attacks: correct under all of them, bool `[B]`.

    Its mean is at most the smallest of the attacks' accuracies.

    Raises:
      ValueError: no attack is given.

    >>> worst_case(jnp.array([True, True]), jnp.array([True, False])).tolist()
    [True, False]
    """
    if not correct:
        raise ValueError("worst_case(): needs at least one attack's result")
    return jnp.all(jnp.stack(correct), axis=0)


def _withstands(
    key: Key,
    run: Callable[[Key, Array, Loss], Attacked],
    logits: Logits,
    image: Array,
    label: Array,
    loss: Callable[[Array, Array], Array],
    restarts: int,
) -> Array:
    """Correct on the clean image and at the end of every start."""
    checks.float_image(image=image)
    checks.whole(1, restarts=restarts)

    def one_start(correct: Array, key: Key) -> tuple[Array, None]:
        # Every start counts: that of the largest cross-entropy can still be classified correctly.
        found = run(key, image, lambda image: loss(logits(image), label))
        return correct & is_correct(logits(found.image), label), None

    clean = is_correct(logits(image), label)
    return lax.scan(one_start, clean, jax.random.split(key, restarts))[0]
