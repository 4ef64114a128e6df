"""The whole evaluation of one classifier: clean, corrupted and attacked, as result rows."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax import checks
from varmixup_jax.evaluation import programs
from varmixup_jax.evaluation.halving import Halving
from varmixup_jax.evaluation.protocol import EvaluationProtocol
from varmixup_jax.evaluation.record import Evaluation, Record
from varmixup_jax.evaluation.tally import (
    LogitsFn,
    Put,
    Resident,
    batch_logits,
    host_logits,
    map_batches,
)
from varmixup_jax.evaluation.temperature import fit_temperature
from varmixup_jax.evaluation.views import View, spread, transformed
from varmixup_jax.metric_names import linearity_name
from varmixup_jax.types import Array, Key, PyTree

Labelled = tuple[np.ndarray, np.ndarray]
"""Images and their labels."""

Remember = Callable[[str, Callable[[], np.ndarray]], np.ndarray]
"""`(name, compute) -> result`: the kept result of that name if there is one, else computed."""


def _unheard(text: str) -> None:
    del text


def computed(name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Always computes, keeps nothing."""
    del name
    return compute()


def evaluate(
    logits_fn: LogitsFn,
    variables: PyTree,
    images: np.ndarray,
    labels: np.ndarray,
    protocol: EvaluationProtocol,
    *,
    key: Key,
    corruptions: Iterable[View] = (),
    validation: Labelled | None = None,
    unseen: Mapping[str, np.ndarray] = MappingProxyType({}),
    on_host: bool = False,
    put: Put = jnp.asarray,
    progress: Callable[[str], None] = _unheard,
    say: Callable[[str], None] = _unheard,
    remember: Remember = computed,
) -> Evaluation:
    """Measures one classifier on a test set and on corrupted versions of it.

    For the clean set and each view: accuracy, nll, brier, ece, ece_adaptive, max_calibration_error,
    calibration_gap (signed, confidence - accuracy), overconfidence_error and balanced_accuracy; with
    validation images nll_scaled and ece_scaled at the temperature fitted on them. For the clean set
    also `temperature`, `class_accuracy_<k>`, `ood_auroc_<name>` and `ood_fpr95_<name>` of each set,
    `pgd<steps>_accuracy`, `apgd<steps>_accuracy` (cross-entropy and, with 3 or more classes, DLR),
    `adversarial_accuracy` (the pointwise worst case, if both attacks run) and
    `local_linearity_error_<n>/255` of the cross-entropy for each radius.

    The randomness of a corrupted view depends on `key`, its name and its severity, not on which
    other views are asked for: with one key all runs are measured on the same corrupted images.

    Args:
      logits_fn: `(variables, image) -> logits`; one function object per architecture.
      variables: parameters and statistics.
      images: uint8, or floating in [0, 1], `[N, H, W, C]`.
      labels: integer `[N]` in [0, K), or probability rows `[N, K]`.
      protocol: what is measured; 0 steps leave an attack out, no radius leaves linearity out.
      key: all randomness of the evaluation.
      corruptions: views, e.g. `computed_views(corruptions.corrupt, ...)`; consumed one at a time.
      validation: images and labels that the temperature is fitted on; None leaves scaling out.
      unseen: images of other data sets by name, of the same shape.
      on_host: whether `logits_fn` takes and returns host arrays; it is then neither compiled nor
        differentiated, and can be neither attacked nor measured for linearity.
      put: places a host batch on the device(s).
      progress: called with what is measured next: "clean", "pgd20", "linearity 8/255", "fog 3".
      say: called once if a batch does not fit in device memory and has to be halved.
      remember: keeps what was computed under each of these names, for a resumed evaluation.

    Returns:
      `Evaluation`.

    Raises:
      TypeError: images of another dtype. ValueError: an argument out of range, labels that do not
        fit, or a view with neither or both of transform and images.
    """
    c = protocol
    checks.non_negative(attack_eps=c.attack_eps, attack_step_size=c.attack_step_size)
    checks.whole(0, attack_steps=c.attack_steps, apgd_steps=c.apgd_steps)
    spared = Halving(put, say)
    forward = spared(partial(host_logits if on_host else batch_logits, logits_fn, variables))
    attack_key, linearity_key, corruption_key = jax.random.split(key, 3)

    def stream(
        name: str,
        fn: Callable[..., Array],
        *arrays: Any,
        key: Key | None = None,
        size: int = c.batch_size,
    ) -> Any:
        progress(name)
        return remember(name, lambda: map_batches(fn, arrays, batch_size=size, put=put, key=key))

    temperature, fitted_on = None, 0
    if validation is not None:
        logits = stream("validation", forward, validation[0])
        temperature = fit_temperature(logits, label_rows(validation[1], *logits.shape))
        fitted_on = len(logits)
    record = Record(
        num_bins=c.bins, keep_logits=c.save_logits, temperature=temperature, fitted_on=fitted_on
    )

    resident = Resident(images)
    clean = stream("clean", forward, resident)
    label = label_rows(labels, *clean.shape)
    record.add(("none", 0), clean, label)
    for name, other in unseen.items():
        record.unseen(name, clean, stream(f"unseen {name}", forward, other))

    def search(key: Key, name: str, fn: Callable[..., Array], around: Sequence[Resident]) -> Any:
        """Runs a separate program, so fewer images than a batch need no padding to its size."""
        size = min(c.batch_size, len(around[0]))
        return stream(name, spared(fn), *around, key=key, size=size)

    def chosen(wanted: int) -> tuple[Resident, Resident]:
        some = spread(len(images), wanted)
        return Resident(images[some]), Resident(label[some])

    correct = []
    model = {"logits_fn": logits_fn, "variables": variables}
    if c.attack_examples:
        attacked = chosen(c.attack_examples)
        attack = {**model, "eps": c.attack_eps, "restarts": c.attack_restarts}
        losses = ("ce", "dlr") if label.shape[1] > 2 else ("ce",)
        pgd = partial(programs.pgd, **attack, steps=c.attack_steps, step_size=c.attack_step_size)
        apgd = partial(programs.apgd, **attack, steps=c.apgd_steps, losses=losses)
        searches = (("pgd", pgd, c.attack_steps), ("apgd", apgd, c.apgd_steps))
        for number, (name, fn, steps) in enumerate(searches):
            if steps:
                key_attack = jax.random.fold_in(attack_key, number)
                correct.append(search(key_attack, f"{name}{steps}", fn, attacked))
                record.mean(f"{name}{steps}_accuracy", correct[-1])
    if len(correct) > 1:
        record.mean("adversarial_accuracy", np.logical_and.reduce(correct))

    around = chosen(c.linearity_examples) if c.linearity_examples and c.linearity_eps else ()
    for index, eps in enumerate(c.linearity_eps if around else ()):
        fn = partial(
            programs.linearity,
            **model,
            eps=eps,
            steps=c.linearity_steps,
            restarts=c.linearity_restarts,
            relative_step=c.linearity_relative_step,
        )
        key_eps = jax.random.fold_in(linearity_key, index)
        error = search(key_eps, f"linearity {255 * eps:g}/255", fn, around)
        record.mean(linearity_name(eps), error)

    for view in corruptions:
        name = f"{view.corruption} {view.severity}"
        if view.transform is None and view.images is not None:
            logits = stream(name, forward, view.images)
        elif view.transform is not None and view.images is None:
            severity = np.int32(view.severity)
            changed = partial(transformed, transform=view.transform, severity=severity)
            fn = partial(_in_turn, changed=changed, forward=forward)
            name_key = jax.random.fold_in(corruption_key, zlib.crc32(view.corruption.encode()))
            key_view = jax.random.fold_in(name_key, view.severity)
            logits = stream(name, fn, resident, key=key_view)
        else:
            raise ValueError(f"view {view.corruption!r}: needs either transform or images")
        own = None if view.labels is None else label_rows(view.labels, *logits.shape)
        record.add((view.corruption, view.severity), logits, label if own is None else own)
    return record.found


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


def _in_turn(
    key: Key,
    batch: Array,
    *,
    changed: Callable[[Key, Array], Array],
    forward: Callable[[Array], Array],
) -> Array:
    return forward(changed(key, batch))
