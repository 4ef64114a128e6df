"""Divergences between two predictions, one number per example, from their logits.

Computed in float32 from log-softmax differences, whatever the dtype of the logits, so that values
and gradients are finite for all finite logits.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from varmixup_jax.types import Array


def kl_divergence(target_logits: Array, logits: Array) -> Array:
    r"""Kullback-Leibler divergence between two softmax distributions, in nats.

    .. math::
        \mathrm{KL}(p \,\|\, q) = \sum_k p_k (\log p_k - \log q_k)

    with p = softmax(target_logits), q = softmax(logits).

    Gradients flow through both arguments. They are finite for all finite logits, and the value is
    exactly 0 where the two rows are equal.

    Args:
      target_logits: `[B, K]`, of the first argument p of KL(p || q).
      logits: `[B, K]`, of the second argument q.

    Returns:
      float32 `[B]`, >= 0 up to rounding.

    Raises:
      ValueError: the shapes differ.

    >>> rows = jnp.array([[1.0, 2.0]])
    >>> kl_divergence(rows, rows).tolist()
    [0.0]
    """
    target_logits, logits = float32_pair(target_logits, logits, "target_logits")
    log_p, log_q = jax.nn.log_softmax(target_logits), jax.nn.log_softmax(logits)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


def js_divergence(target_logits: Array, logits: Array) -> Array:
    r"""Jensen-Shannon divergence between two softmax distributions, in nats.

    .. math::
        \mathrm{JS}(p, q) = \tfrac12 \mathrm{KL}(p \,\|\, m) + \tfrac12 \mathrm{KL}(q \,\|\, m), \quad
        m = \tfrac12 (p + q)

    with p = softmax(target_logits), q = softmax(logits). It is symmetric and bounded, unlike KL: a
    confident prediction that turns into another costs at most log 2.

    Gradients flow through both arguments. They are finite for all finite logits, as m is never formed:

    .. math::
        \log p - \log m = \log 2 - \mathrm{softplus}(d), \quad
        \log q - \log m = \log 2 - \mathrm{softplus}(-d), \quad d = \log q - \log p

    Args:
      target_logits, logits: `[B, K]`.

    Returns:
      float32 `[B]` in [0, log 2] up to rounding (about 1e-7).

    Raises:
      ValueError: the shapes differ.

    References:
      Lin, *Divergence measures based on the Shannon entropy*, 1991 (equal weights).

    >>> rows = jnp.array([[100.0, 0.0], [0.0, 0.0]])
    >>> js_divergence(rows, -rows).round(4).tolist()
    [0.693..., 0.0]
    """
    target_logits, logits = float32_pair(target_logits, logits, "target_logits")
    log_p, log_q = jax.nn.log_softmax(target_logits), jax.nn.log_softmax(logits)
    gap = log_q - log_p
    of_p = jnp.exp(log_p) * (math.log(2.0) - jax.nn.softplus(gap))
    of_q = jnp.exp(log_q) * (math.log(2.0) - jax.nn.softplus(-gap))
    return 0.5 * jnp.sum(of_p + of_q, axis=-1)


def float32_pair(logits: Array, label: Array, name: str = "label") -> tuple[Array, Array]:
    """Both as float32; raises unless their shapes agree (broadcasting would hide a mistake).

    Args:
      logits, label: of the same shape, any dtype.
      name: what a message calls `label`.

    Returns:
      The two, float32.

    Raises:
      ValueError: the shapes differ.

    >>> [array.dtype.name for array in float32_pair(jnp.ones((1, 2)), jnp.ones((1, 2), jnp.int32))]
    ['float32', 'float32']
    """
    logits, label = jnp.asarray(logits), jnp.asarray(label)
    if logits.shape != label.shape:
        raise ValueError(f"{name}: has shape {label.shape}, must be that of logits, {logits.shape}")
    return logits.astype(jnp.float32), label.astype(jnp.float32)
