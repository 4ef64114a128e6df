"""The jitted programs of an evaluation.

What changes the program (the classifier's function, step counts) is static; everything else
(variables, radii, step sizes) is an argument, so one compilation serves all runs and all radii.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from varmixup_jax.attacks.pgd import linf
from varmixup_jax.evaluation import calibration, robustness
from varmixup_jax.evaluation.linearity import local_linearity_error
from varmixup_jax.evaluation.tally import LogitsFn, to_pixels
from varmixup_jax.losses import brier_score, cross_entropy, soft_accuracy
from varmixup_jax.types import Array, Key, PyTree


@partial(jax.jit, static_argnums=2)
def measures(
    logits: Array, label: Array, num_bins: int
) -> tuple[dict[str, Array], calibration.Bins]:
    """Means and reliability bins of a whole test set, `[N, K]` each."""
    confidence, correct = calibration.top_prediction(logits, label)
    bins = calibration.reliability_bins(confidence, correct, num_bins=num_bins)
    equal_mass = calibration.equal_mass_bins(confidence, correct, num_bins=num_bins)
    values = {
        "accuracy": jnp.mean(correct),
        "nll": jnp.mean(cross_entropy(logits, label)),
        "brier": jnp.mean(brier_score(logits, label)),
        "ece": calibration.expected_calibration_error(bins),
        "ece_adaptive": calibration.expected_calibration_error(equal_mass),
        "max_calibration_error": calibration.maximum_calibration_error(bins),
        "calibration_gap": calibration.calibration_gap(bins),
        "overconfidence_error": calibration.overconfidence_error(bins),
    }
    return values, bins


@partial(jax.jit, static_argnums=3)
def scaled(logits: Array, label: Array, temperature: Array, num_bins: int) -> dict[str, Array]:
    """NLL and ECE of softmax(f / T), logits and labels `[N, K]`; T changes no prediction."""
    cooled = logits / temperature
    confidence, _ = calibration.top_prediction(cooled, label)
    bins = calibration.reliability_bins(confidence, soft_accuracy(logits, label), num_bins=num_bins)
    return {
        "nll_scaled": jnp.mean(cross_entropy(cooled, label)),
        "ece_scaled": calibration.expected_calibration_error(bins),
    }


def _attacked(correct: Callable[..., Array], *static: str) -> Callable[..., Array]:
    @partial(jax.jit, static_argnames=("logits_fn", *static))
    def attacked(
        key: Key,
        images: Array,
        label: Array,
        *,
        logits_fn: LogitsFn,
        variables: PyTree,
        eps: Array,
        **settings: Any,
    ) -> Array:
        model, ball = partial(logits_fn, variables), linf(eps)
        return correct(model, to_pixels(images), label, key=key, ball=ball, **settings)

    return attacked


pgd = _attacked(robustness.pgd_correct, "steps", "restarts")
"""`pgd_correct` of one batch, with its `steps`, `step_size` and `restarts`."""

apgd = _attacked(robustness.apgd_correct, "steps", "restarts", "losses")
"""`apgd_correct` of one batch, with its `steps`, `restarts` and `losses`."""


@partial(jax.jit, static_argnames=("logits_fn", "steps", "restarts", "relative_step"))
def linearity(
    key: Key,
    images: Array,
    label: Array,
    *,
    logits_fn: LogitsFn,
    variables: PyTree,
    **settings: Any,
) -> Array:
    """`local_linearity_error` of the cross-entropy of one batch, with its other arguments."""

    def loss(image: Array) -> Array:
        return cross_entropy(logits_fn(variables, image), label)

    return local_linearity_error(loss, to_pixels(images), key=key, **settings)
