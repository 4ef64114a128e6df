"""Losses, scores and `Distance`s, one number per example; reduction is left to the caller.

Everything is computed in float32 from log-softmax differences, whatever the dtype of the logits:
log(softmax(.)) of a saturated row is -inf and its gradient NaN. Labels are probability rows, so
that mixed and one-hot labels go through the same functions.

Shapes: `logits` and `label` are `[..., K]`, usually `[B, K]`; results are `[...]`, float32.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from varmixup_jax.divergences import float32_pair, js_divergence, kl_divergence
from varmixup_jax.types import Array


def cross_entropy(logits: Array, label: Array) -> Array:
    r"""Cross-entropy with soft labels, in nats.

    .. math::
        \mathrm{CE}(f, y) = -\sum_k y_k \log \mathrm{softmax}(f)_k

    Args:
      logits: `[B, K]`, any floating dtype.
      label: `[B, K]`, rows sum to 1.

    Returns:
      float32 `[B]`, >= 0.

    Raises:
      ValueError: the shapes differ.

    >>> print(cross_entropy(jnp.zeros((1, 4)), jnp.eye(4)[:1]))
    [1.3862944]
    """
    logits, label = float32_pair(logits, label)
    return -jnp.sum(label * jax.nn.log_softmax(logits), axis=-1)


def bce_softmax(logits: Array, label: Array) -> Array:
    """Binary cross-entropy of the softmax probabilities, averaged over classes, in nats.

    BCE(p, y) = -(1/K) sum_k [ y_k log p_k + (1 - y_k) log(1 - p_k) ],  p = softmax(f).

    This is the loss of the manifold mixup authors' code. 1 - p_k is never formed for the largest
    p_k, where it cancels: there log(1 - p_k) = log sum_{j != k} p_j, from log-probabilities. The
    logarithms are not clipped, so gradients do not vanish for extreme logits.

    Args:
      logits: `[B, K]`, K >= 2.
      label: `[B, K]`, rows sum to 1.

    Returns:
      float32 `[B]`, >= 0.

    Raises:
      ValueError: the shapes differ, or K < 2.

    References:
      Verma et al., *Manifold Mixup*, ICML 2019.

    >>> print(bce_softmax(jnp.zeros((1, 2)), jnp.eye(2)[:1]))
    [0.6931472]
    """
    logits, label = float32_pair(logits, label)
    _need_classes(logits, 2, "bce_softmax")
    log_p = jax.nn.log_softmax(logits)
    top = _one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1])
    # Every other p_k is at most 1/2, where log1p(-p_k) is accurate.
    log_not_others = jnp.log1p(-jnp.exp(jnp.where(top, -jnp.inf, log_p)))
    log_not_top = jax.nn.logsumexp(log_p, axis=-1, keepdims=True, where=~top)
    log_not = jnp.where(top, log_not_top, log_not_others)
    return -jnp.mean(label * log_p + (1.0 - label) * log_not, axis=-1)


def brier_score(logits: Array, label: Array) -> Array:
    """Brier score, the squared distance of the probabilities from the label.

    sum_k (softmax(f)_k - y_k)^2 (Brier 1950).

    Args:
      logits, label: `[B, K]`.

    Returns:
      float32 `[B]` in [0, 2].

    Raises:
      ValueError: the shapes differ.

    >>> brier_score(jnp.zeros((1, 2)), jnp.eye(2)[:1]).tolist()
    [0.5]
    """
    logits, label = float32_pair(logits, label)
    return jnp.sum(jnp.square(jax.nn.softmax(logits) - label), axis=-1)


def soft_accuracy(logits: Array, label: Array) -> Array:
    """The label's mass on the predicted class, y[argmax f]; 0/1 accuracy for one-hot labels.

    Under mixing its best possible value is max(lambda, 1 - lambda), not 1.

    Args:
      logits, label: `[B, K]`.

    Returns:
      float32 `[B]` in [0, 1]; 0 where a logit is NaN (such a row predicts nothing).

    Raises:
      ValueError: the shapes differ.

    >>> soft_accuracy(jnp.array([[2.0, 1.0]]), jnp.array([[0.75, 0.25]])).tolist()
    [0.75]
    """
    logits, label = float32_pair(logits, label)
    predicted = _one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1])
    mass = jnp.sum(jnp.where(predicted, label, 0.0), axis=-1)
    return jnp.where(jnp.any(jnp.isnan(logits), axis=-1), 0.0, mass)


def dlr(logits: Array, label: Array) -> Array:
    """Difference-of-logits-ratio loss, invariant to shifting and scaling the logits.

    DLR(f, y) = -(f_y - max_{i != y} f_i) / (f_pi1 - f_pi3),  pi sorting f in decreasing order.

    It is positive exactly where f is misclassified, and its gradient does not vanish where the
    softmax saturates: an attack cannot be fooled by large logits.

    Args:
      logits: `[B, K]`, K >= 3.
      label: `[B, K]`; the class is its argmax.

    Returns:
      float32 `[B]`, >= -1; where f_pi1 = f_pi3 the ratio's denominator is taken as 1.

    Raises:
      ValueError: the shapes differ, or K < 3.

    References:
      Croce and Hein, *Reliable evaluation of adversarial robustness*, ICML 2020, section 4.

    >>> dlr(jnp.array([[3.0, 1.0, -1.0]]), jnp.eye(3)[:1]).tolist()
    [-0.5]
    """
    logits, label = float32_pair(logits, label)
    _need_classes(logits, 3, "dlr")
    true = _one_hot(jnp.argmax(label, axis=-1), logits.shape[-1])
    own = jnp.sum(jnp.where(true, logits, 0.0), axis=-1)
    other = jnp.max(jnp.where(true, -jnp.inf, logits), axis=-1)
    largest = jax.lax.top_k(logits, 3)[0]
    spread = largest[..., 0] - largest[..., 2]
    # Three equal logits (a dead network): value and gradient stay finite.
    return (other - own) / jnp.where(spread > 0, spread, 1.0)


def ce(logits: Array, label: Array, clean_logits: Array | None) -> Array:
    """`cross_entropy` as a `Distance`: `clean_logits` is ignored."""
    del clean_logits
    return cross_entropy(logits, label)


def bce(logits: Array, label: Array, clean_logits: Array | None) -> Array:
    """`bce_softmax` as a `Distance`: `clean_logits` is ignored."""
    del clean_logits
    return bce_softmax(logits, label)


def kl_to_clean(logits: Array, label: Array, clean_logits: Array | None) -> Array:
    r"""TRADES' `Distance` to the clean prediction, which comes first.

    .. math::
        \mathrm{KL}(\mathrm{softmax} f(x) \,\|\, \mathrm{softmax} f(x'))

    The gradient flows through the clean logits as well. Labels are ignored.

    Raises:
      ValueError: no earlier term of the objective computed clean logits.

    References:
      Zhang et al., *Theoretically Principled Trade-off between Robustness and Accuracy*, ICML 2019,
      eq. 5 with KL as the surrogate, in the order of their released code.
    """
    del label
    return kl_divergence(_need_clean(clean_logits, "kl_to_clean"), logits)


def js_to_clean(logits: Array, label: Array, clean_logits: Array | None) -> Array:
    r"""A consistency `Distance` between the clean prediction and this one.

    .. math::
        \mathrm{JS}(\mathrm{softmax} f(x), \mathrm{softmax} f(x'))

    The gradient flows through the clean logits as well. Labels are ignored. AugMix's loss is the
    divergence of *three* predictions, JS(p, p', p'') of the clean image and of two views. A
    `Distance` sees one view and the clean batch, so n views are n terms, and what is minimised is the
    mean of their pairwise divergences: the two views are pulled towards the clean prediction, and
    towards each other only through it. Near p, to second order, the three-way divergence is 16/9 of
    that mean if the views move the prediction independently, and 8/9 if they move it alike.

    Raises:
      ValueError: no earlier term of the objective computed clean logits.

    References:
      Hendrycks et al., *AugMix*, ICLR 2020, section 3.
    """
    del label
    return js_divergence(_need_clean(clean_logits, "js_to_clean"), logits)


def _need_clean(clean_logits: Array | None, distance: str) -> Array:
    if clean_logits is None:
        text = f"{distance} needs an earlier term on the clean batch (dirac)"
        raise ValueError(f"clean_logits = None: {text}")
    return clean_logits


def _need_classes(logits: Array, minimum: int, loss: str) -> None:
    if logits.shape[-1] < minimum:
        raise ValueError(f"logits: {logits.shape[-1]} classes, {loss} needs >= {minimum}")


def _one_hot(index: Array, classes: int) -> Array:
    """Boolean `[..., K]`, true at `index`."""
    return jax.nn.one_hot(index, classes, dtype=jnp.bool_)
