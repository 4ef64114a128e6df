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
from varmixup_jax.evaluation.memory import Halving
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
"""`(name, compute) -> result`, from wherever a result of that name was kept, else computed."""


def _unheard(text: str) -> None:
    del text


def _computed(name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    del name
    return compute()


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
    validation: Labelled | None = None,
    unseen: Mapping[str, np.ndarray] = MappingProxyType({}),
    keep_logits: str = "none",
    attack_eps: float = 8 / 255,
    attack_restarts: int = 1,
    attack_images: int | None = None,
    pgd_steps: int = 20,
    pgd_step_size: float = 2 / 255,
    apgd_steps: int = 0,
    apgd_losses: Sequence[str] | None = None,
    linearity_eps: Sequence[float] = (2 / 255, 4 / 255, 6 / 255, 8 / 255),
    linearity_steps: int = 50,
    linearity_restarts: int = 3,
    linearity_relative_step: float = 0.1,
    linearity_images: int | None = 1000,
    on_host: bool = False,
    put: Put = jnp.asarray,
    progress: Callable[[str], None] = _unheard,
    say: Callable[[str], None] = _unheard,
    remember: Remember = _computed,
) -> Evaluation:
    """Measures one classifier on a test set and on corrupted versions of it.

    For the clean set and each view: accuracy, nll, brier, ece, ece_adaptive, max_calibration_error,
    calibration_gap (signed, confidence - accuracy), overconfidence_error and balanced_accuracy; with
    validation images nll_scaled and ece_scaled at the temperature fitted on them. For the clean set
    also `temperature`, `class_accuracy_<k>`, `ood_auroc_<name>` and `ood_fpr95_<name>` of each set,
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
      validation: images and labels that the temperature is fitted on; None leaves scaling out.
      unseen: images of other data sets by name, of the same shape.
      keep_logits: which predictions are returned: "none", "clean" or "all".
      attack_eps: l-infinity radius in pixel units, >= 0.
      attack_restarts: starts of each attack, >= 1.
      attack_images: how many images, spread evenly over the set, are attacked; None for all.
      pgd_steps, pgd_step_size: of PGD on the cross-entropy; 0 steps leaves it out.
      apgd_steps, apgd_losses: of Auto-PGD; 0 steps leaves it out. None for cross-entropy and, of
        three classes or more, DLR.
      linearity_eps: radii in pixel units; empty leaves the measure out.
      linearity_steps, linearity_restarts, linearity_relative_step: as in `local_linearity_error`.
      linearity_images: as `attack_images`.
      on_host: whether `logits_fn` takes and returns host arrays; it is then neither compiled nor
        differentiated, and can be neither attacked nor measured for linearity.
      put: places a host batch on the device(s).
      progress: told what is measured next: "clean", "pgd20", "linearity 8/255", "fog 3".
      say: told, once, when the devices' memory does for half a batch only.
      remember: keeps what was computed under each of these names, for a resumed evaluation.

    Returns:
      `Evaluation`.

    Raises:
      TypeError: images of another dtype. ValueError: an argument out of range, labels that do not
        fit, or a view with neither or both of transform and images.
    """
    checks.non_negative(attack_eps=attack_eps, pgd_step_size=pgd_step_size)
    checks.whole(0, pgd_steps=pgd_steps, apgd_steps=apgd_steps)
    spared = Halving(put, say)
    forward = spared(partial(host_logits if on_host else batch_logits, logits_fn, variables))
    attack_key, linearity_key, corruption_key = jax.random.split(key, 3)

    def stream(
        name: str,
        fn: Callable[..., Array],
        *arrays: Any,
        key: Key | None = None,
        size: int = batch_size,
    ) -> Any:
        progress(name)
        return remember(name, lambda: map_batches(fn, arrays, batch_size=size, put=put, key=key))

    temperature, fitted_on = None, 0
    if validation is not None:
        logits = stream("validation", forward, validation[0])
        temperature = fit_temperature(logits, label_rows(validation[1], *logits.shape))
        fitted_on = len(logits)
    record = Record(
        num_bins=num_bins, keep_logits=keep_logits, temperature=temperature, fitted_on=fitted_on
    )

    resident = Resident(images)
    clean = stream("clean", forward, resident)
    label = label_rows(labels, *clean.shape)
    record.add(("none", 0), clean, label)
    for name, other in unseen.items():
        record.unseen(name, clean, stream(f"unseen {name}", forward, other))

    def search(key: Key, name: str, fn: Callable[..., Array], around: Sequence[Resident]) -> Any:
        """Of a program of its own, for which fewer images than a batch need not be filled up."""
        size = min(batch_size, len(around[0]))
        return stream(name, spared(fn), *around, key=key, size=size)

    def chosen(wanted: int | None) -> tuple[Resident, Resident]:
        some = spread(len(images), wanted)
        return Resident(images[some]), Resident(label[some])

    attacked = chosen(attack_images) if pgd_steps or apgd_steps else ()
    correct = []
    model = {"logits_fn": logits_fn, "variables": variables}
    attack = {**model, "eps": attack_eps, "restarts": attack_restarts}
    if pgd_steps:
        fn = partial(programs.pgd, **attack, steps=pgd_steps, step_size=pgd_step_size)
        key_pgd = jax.random.fold_in(attack_key, 0)
        correct.append(search(key_pgd, f"pgd{pgd_steps}", fn, attacked))
        record.mean(f"pgd{pgd_steps}_accuracy", correct[-1])
    if apgd_steps:
        losses = tuple(apgd_losses or (("ce", "dlr") if label.shape[1] > 2 else ("ce",)))
        fn = partial(programs.apgd, **attack, steps=apgd_steps, losses=losses)
        key_apgd = jax.random.fold_in(attack_key, 1)
        correct.append(search(key_apgd, f"apgd{apgd_steps}", fn, attacked))
        record.mean(f"apgd{apgd_steps}_accuracy", correct[-1])
    if len(correct) > 1:
        record.mean("adversarial_accuracy", np.logical_and.reduce(correct))

    around = chosen(linearity_images) if linearity_eps else ()
    for index, eps in enumerate(linearity_eps):
        fn = partial(
            programs.linearity,
            **model,
            eps=eps,
            steps=linearity_steps,
            restarts=linearity_restarts,
            relative_step=linearity_relative_step,
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
