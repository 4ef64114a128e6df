"""The whole evaluation of one classifier: clean, corrupted and attacked, as result rows."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax import checks
from varmixup_jax.evaluation import programs
from varmixup_jax.evaluation.calibration import Bins
from varmixup_jax.evaluation.tally import LogitsFn, Put, batch_logits, map_batches, predict
from varmixup_jax.evaluation.views import CLEAN, View, transformed
from varmixup_jax.logits_file import Condition, Predictions
from varmixup_jax.metric_names import linearity_name
from varmixup_jax.types import Array, Key, PyTree

KEPT = ("none", "clean", "all")


class Evaluation(NamedTuple):
    """What `evaluate` measured.

    Attributes:
      metrics: dicts `{corruption, severity, metric, value, count}`: `value` a float (a fraction in
        [0, 1]; NLL and local linearity error in nats), `count` the examples it is a mean over.
      bins: reliability bins (numpy) by `(corruption, severity)`, to draw or to merge.
      predictions: float32 logits and classes by `(corruption, severity)`, those that were to be kept.
    """

    metrics: list[dict[str, Any]]
    bins: dict[Condition, Bins]
    predictions: dict[Condition, Predictions]


class Row(NamedTuple):
    """One line of a results file."""

    run: str
    method: str
    seed: int
    step: int
    dataset: str
    split: str
    corruption: str
    severity: int
    metric: str
    value: float
    count: int  # type: ignore[assignment]


def _unheard(part: str) -> None:
    del part


def evaluate(
    logits_fn: LogitsFn,
    variables: PyTree,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    key: Key,
    batch_size: int = 256,
    num_bins: int = 15,
    corruptions: Iterable[View] = (),
    keep_logits: str = "none",
    attack_eps: float = 8 / 255,
    attack_restarts: int = 1,
    attack_images: int | None = None,
    pgd_steps: int = 20,
    pgd_step_size: float = 2 / 255,
    apgd_steps: int = 0,
    apgd_losses: Sequence[str] = ("ce", "dlr"),
    linearity_eps: Sequence[float] = (2 / 255, 4 / 255, 6 / 255, 8 / 255),
    linearity_steps: int = 50,
    linearity_restarts: int = 3,
    linearity_relative_step: float = 0.1,
    linearity_images: int | None = 1000,
    put: Put = jnp.asarray,
    progress: Callable[[str], None] = _unheard,
) -> Evaluation:
    """Measures one classifier on a test set and on corrupted versions of it.

    For the clean set and each view: accuracy, nll, brier, ece, ece_adaptive, max_calibration_error,
    calibration_gap (signed, confidence - accuracy) and overconfidence_error. For the clean set also
    `pgd<steps>_accuracy`, `apgd<steps>_accuracy`, `adversarial_accuracy` (the pointwise worst case,
    if both attacks run) and `local_linearity_error_<n>/255` of the cross-entropy for each radius.

    The randomness of a corrupted view depends on `key`, its name and its severity, not on which
    other views are asked for: with one key all runs are measured on the same corrupted images.

    Args:
      logits_fn: `(variables, image) -> logits`; one function object per architecture.
      variables: parameters and statistics.
      images: uint8, or floating in [0, 1], `[N, H, W, C]`.
      labels: integer `[N]` in [0, K), or probability rows `[N, K]`.
      key: all randomness of the evaluation.
      batch_size: rows per call, >= 1.
      num_bins: bins of the calibration measures, >= 1.
      corruptions: views, e.g. `computed_views(corruptions.corrupt, ...)`; consumed one at a time.
      keep_logits: which predictions are returned: "none", "clean" or "all".
      attack_eps: l-infinity radius in pixel units, >= 0.
      attack_restarts: starts of each attack, >= 1.
      attack_images: how many images, spread evenly over the set, are attacked; None for all.
      pgd_steps, pgd_step_size: of PGD on the cross-entropy; 0 steps leaves it out.
      apgd_steps, apgd_losses: of Auto-PGD; 0 steps leaves it out.
      linearity_eps: radii in pixel units; empty leaves the measure out.
      linearity_steps, linearity_restarts, linearity_relative_step: as in `local_linearity_error`.
      linearity_images: as `attack_images`.
      put: places a host batch on the device(s).
      progress: told what is measured next: "clean", "pgd20", "linearity 8/255", "fog 3".

    Returns:
      `Evaluation`.

    Raises:
      TypeError: images of another dtype. ValueError: an argument out of range, labels that do not
        fit, or a view with neither or both of transform and images.
    """
    checks.non_negative(attack_eps=attack_eps, pgd_step_size=pgd_step_size)
    checks.whole(0, pgd_steps=pgd_steps, apgd_steps=apgd_steps)
    checks.one_of(KEPT, keep_logits=keep_logits)
    metrics: list[dict[str, Any]] = []
    bins: dict[Condition, Bins] = {}
    predictions: dict[Condition, Predictions] = {}
    forward = partial(batch_logits, logits_fn, variables)
    stream = partial(map_batches, batch_size=batch_size, put=put)
    attack_key, linearity_key, corruption_key = jax.random.split(key, 3)

    def add(view: View, logits: np.ndarray, label: np.ndarray) -> None:
        values, view_bins = jax.device_get(programs.measures(logits, label, num_bins))
        condition = (view.corruption, view.severity)
        bins[condition] = view_bins
        if keep_logits == "all" or (keep_logits == "clean" and view is CLEAN):
            predictions[condition] = Predictions(logits, label.argmax(axis=1).astype(np.int32))
        metrics.extend(_metric(view, name, value, len(logits)) for name, value in values.items())

    progress("clean")
    logits = predict(logits_fn, variables, images, batch_size=batch_size, put=put)
    clean_label = label = label_rows(labels, *logits.shape)
    add(CLEAN, logits, label)

    chosen = spread(len(images), attack_images)
    correct = []
    if pgd_steps:
        progress(f"pgd{pgd_steps}")
        static: tuple[Any, ...] = (logits_fn, pgd_steps, attack_restarts)
        fn = partial(programs.pgd, *static, variables, attack_eps, pgd_step_size)
        key_pgd = jax.random.fold_in(attack_key, 0)
        correct.append(stream(fn, (images[chosen], label[chosen]), key=key_pgd))
        metrics.append(_mean(f"pgd{pgd_steps}_accuracy", correct[-1]))
    if apgd_steps:
        progress(f"apgd{apgd_steps}")
        static = (logits_fn, apgd_steps, attack_restarts, tuple(apgd_losses))
        fn = partial(programs.apgd, *static, variables, attack_eps)
        key_apgd = jax.random.fold_in(attack_key, 1)
        correct.append(stream(fn, (images[chosen], label[chosen]), key=key_apgd))
        metrics.append(_mean(f"apgd{apgd_steps}_accuracy", correct[-1]))
    if len(correct) > 1:
        metrics.append(_mean("adversarial_accuracy", np.logical_and.reduce(correct)))

    chosen = spread(len(images), linearity_images)
    for index, eps in enumerate(linearity_eps):
        progress(f"linearity {255 * eps:g}/255")
        static = (logits_fn, linearity_steps, linearity_restarts, linearity_relative_step)
        fn = partial(programs.linearity, *static, variables, eps)
        key_eps = jax.random.fold_in(linearity_key, index)
        error = stream(fn, (images[chosen], label[chosen]), key=key_eps)
        metrics.append(_mean(linearity_name(eps), error))

    for view in corruptions:
        progress(f"{view.corruption} {view.severity}")
        if view.transform is None and view.images is not None:
            logits = stream(forward, (view.images,))
        elif view.transform is not None and view.images is None:
            changed = partial(transformed, view.transform, np.int32(view.severity))
            fn = partial(_in_turn, changed, forward)
            name_key = jax.random.fold_in(corruption_key, zlib.crc32(view.corruption.encode()))
            logits = stream(fn, (images,), key=jax.random.fold_in(name_key, view.severity))
        else:
            raise ValueError(f"view {view.corruption!r}: needs either transform or images")
        own = None if view.labels is None else label_rows(view.labels, *logits.shape)
        add(view, logits, clean_label if own is None else own)
    return Evaluation(metrics, bins, predictions)


def rows(
    evaluation: Evaluation,
    *,
    run: str,
    method: str,
    seed: int,
    step: int,
    dataset: str,
    split: str = "test",
) -> list[Row]:
    """The evaluation as lines of a results file, with what identifies the run in each."""
    named = partial(Row, run, method, seed, step, dataset, split)
    return [named(**metric) for metric in evaluation.metrics]


def label_rows(labels: np.ndarray, examples: int, classes: int) -> np.ndarray:
    """Integer labels `[N]` as float32 one-hot rows `[N, K]`; probability rows are checked.

    Raises:
      ValueError: another shape, a class out of range, or rows that do not sum to 1.
    """
    labels = np.asarray(labels)
    if labels.shape == (examples, classes):
        checks.probability_rows(labels=labels)
        return labels.astype(np.float32)
    if labels.shape != (examples,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels: {labels.dtype} {labels.shape}, must be integer ({examples},) "
            f"or rows ({examples}, {classes})"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"labels: from {labels.min()} to {labels.max()}, must lie in [0, {classes - 1}]"
        )
    return np.eye(classes, dtype=np.float32)[labels]


def spread(total: int, wanted: int | None) -> np.ndarray:
    """`wanted` indices spread evenly over `range(total)`, or all of them.

    Evenly, because test sets are often sorted by class.

    >>> spread(10, 4).tolist(), spread(2, None).tolist()
    ([0, 2, 5, 7], [0, 1])
    """
    if wanted is None or wanted >= total:
        return np.arange(total)
    checks.whole(1, images=wanted)
    return np.arange(wanted) * total // wanted


def _in_turn(
    changed: Callable[[Key, Array], Array],
    forward: Callable[[Array], Array],
    key: Key,
    batch: Array,
) -> Array:
    return forward(changed(key, batch))


def _metric(view: View, metric: str, value: float, count: int) -> dict[str, Any]:
    return {
        "corruption": view.corruption,
        "severity": int(view.severity),
        "metric": metric,
        "value": float(value),
        "count": int(count),
    }


def _mean(metric: str, per_example: np.ndarray) -> dict[str, Any]:
    return _metric(CLEAN, metric, np.mean(per_example, dtype=np.float64), len(per_example))
