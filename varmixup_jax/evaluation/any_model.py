"""`evaluate`: everything this package measures, for a model that was trained anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from varmixup_jax import checks, logits_file
from varmixup_jax.data import Dataset
from varmixup_jax.declare import frozen, plain
from varmixup_jax.evaluation import suite
from varmixup_jax.evaluation.compile_ahead import compiled_ahead
from varmixup_jax.evaluation.conditions import conditions
from varmixup_jax.evaluation.own_model import (
    SMALLEST_PROBABILITY,
    adapt,
    as_images,
    check,
    check_outputs,
    check_predictions,
)
from varmixup_jax.evaluation.protocol import EvaluationProtocol
from varmixup_jax.evaluation.record import CLEAN, Evaluation, Record, rows
from varmixup_jax.evaluation.results import Results
from varmixup_jax.evaluation.suite import label_rows, spread
from varmixup_jax.evaluation.temperature import fit_temperature
from varmixup_jax.logits_file import Condition, Predictions

SEED = 0
"""For corruptions, attacks and linearity: as in trained runs, so that all see the same images."""


def evaluate(
    logits_fn: Callable[[Any], Any],
    images: Any,
    labels: Any,
    *,
    name: str = "model",
    dataset: str = "data",
    layout: str = "NHWC",
    outputs: str = "logits",
    examples: int = 0,
    batch_size: int = 500,
    bins: int = 15,
    corruptions: str | Path | Sequence[str] = "computed",
    frost_dir: str = "",
    validation: tuple[Any, Any] | None = None,
    ood: Mapping[str, Any] | None = None,
    attack_examples: int = 1000,
    attack_eps: float = 8 / 255,
    attack_step_size: float = 2 / 255,
    attack_steps: int = 20,
    attack_restarts: int = 1,
    apgd_steps: int = 0,
    linearity_examples: int = 1000,
    linearity_eps: Sequence[float] = (2 / 255, 4 / 255, 6 / 255, 8 / 255),
    linearity_steps: int = 50,
    linearity_restarts: int = 3,
    quiet: bool = False,
) -> Results:
    """Measures any classifier: clean, corrupted and attacked accuracy, calibration, linearity.

    The code is the same as for trained runs and the defaults are those of the configuration, so
    `varmixup report` can compare what `Results.save` writes with them. `docs/measures.md` defines
    every number.

    Args:
      logits_fn: the model in evaluation mode: a batch of pixels in [0, 1], floating `[B, H, W, C]`,
        to logits `[B, K]`; it does its own normalisation. A JAX function is compiled. Anything else
        (PyTorch, ONNX, scikit-learn) gets float32 NumPy batches and may return an array or a tensor;
        a `torch.nn.Module` gets tensors. Such a model cannot be differentiated here: attacks and
        linearity are then left out, and `Results.remarks` says so.
      images: the test images, `[N, H, W, C]`, uint8 or floating in [0, 1].
      labels: integer `[N]` in [0, K), or probability rows `[N, K]`.
      name: what reports call the model.
      dataset: what reports call the images: rows of one set share a table.
      layout: of the images and of the batches that the model gets: "NHWC" or "NCHW".
      outputs: what the model returns: "logits", or "probabilities" (rows that sum to 1).
      examples: test images, evenly spread; 0 for all.
      batch_size: images at once; halved once if the device runs out of memory.
      bins: number of bins of the calibration errors.
      corruptions: "computed" (the fifteen, 5 severities each), a name or a list of them, a directory
        of files such as CIFAR-10-C, or "none".
      frost_dir: photographs of frost, as `config.eval.frost_dir`.
      validation: held-out images and labels, in neither the training nor the test set: a
        temperature is fitted on them. None leaves it out.
      ood: images of other data sets by name, of the same shape, for out-of-distribution detection.
      attack_examples: test images that are attacked, evenly spread; 0 for none.
      attack_eps, attack_step_size, attack_steps, attack_restarts: of PGD, l-infinity, in pixels.
      apgd_steps: of Auto-PGD (cross-entropy and, with 3 or more classes, DLR); 0 leaves it out.
      linearity_examples: test images around which the loss's linearity is measured; 0 for none.
      linearity_eps, linearity_steps, linearity_restarts: radii, and the budget of the search.
      quiet: print nothing while it runs.

    Returns:
      `Results`: `print(results)`, `results.table()`, `results.rows`, `results.save(directory)`.

    Raises:
      TypeError, ValueError: one line that names the argument: images or labels of the wrong shape,
        dtype or range, a layout or outputs that do not match the model, a model in training mode.

    >>> import numpy as np
    >>> images = np.zeros((4, 8, 8, 1), np.float32)
    >>> images[2:] = 1.0
    >>> brightness = lambda batch: batch.mean(axis=(1, 2)) * np.array([[-9.0, 9.0]], np.float32)
    >>> settings = {"corruptions": "none", "attack_examples": 0, "linearity_examples": 0}
    >>> results = evaluate(brightness, images, np.array([0, 0, 1, 1]), quiet=True, **settings)
    >>> [row["value"] for row in results.rows if row["metric"] == "accuracy"]
    [1.0]
    """
    settings = {
        "dataset": dataset, "layout": layout, "outputs": outputs, "examples": examples,
        "batch_size": batch_size, "bins": bins, "corruptions": corruptions, "frost_dir": frost_dir,
        "validation_examples": 0 if validation is None else len(validation[1]),
        "ood": ",".join(ood or {}), "attack_examples": attack_examples, "attack_eps": attack_eps,
        "attack_step_size": attack_step_size, "attack_steps": attack_steps,
        "attack_restarts": attack_restarts, "apgd_steps": apgd_steps,
        "linearity_examples": linearity_examples, "linearity_eps": tuple(linearity_eps),
        "linearity_steps": linearity_steps, "linearity_restarts": linearity_restarts,
    }  # fmt: skip
    began = time.monotonic()
    checks.printable(name=name, dataset=dataset, **{f"ood[{n!r}]": n for n in ood or {}})
    checks.whole(0, examples=examples, attack_examples=attack_examples)
    checks.whole(0, linearity_examples=linearity_examples)
    checks.whole(1, batch_size=batch_size)
    checks.in_range(0, 1, attack_eps=attack_eps, attack_step_size=attack_step_size)
    checks.in_range(0, 1, **{f"linearity_eps[{i}]": eps for i, eps in enumerate(linearity_eps)})
    images, labels = as_images(images, layout), np.asarray(labels)
    kept = spread(len(images), examples or None)
    if len(labels) != len(images):
        raise ValueError(f"labels: has {len(labels)}, must have {len(images)}, one per image")
    data = _data_set(dataset, images, labels)
    some, classes = validation or (None, None)
    held_out = validation and (as_images(some, layout, "validation", images), np.asarray(classes))
    if held_out and np.array_equal(held_out[0], images):
        raise ValueError("validation: are the test images, must be held-out images")
    unseen = {name: as_images(some, layout, name, images) for name, some in (ood or {}).items()}
    corrupted = conditions(corruptions, data, frost_dir)
    views = corrupted.views(examples or None)
    labels, images = labels[kept], images[kept]
    batch_size = min(batch_size, len(images))
    own = adapt(logits_fn, images, layout, outputs)
    check(own, images, outputs, batch_size)
    remarks: list[str] = []
    given = {**plain(EvaluationProtocol()), **settings, "save_logits": "all"}
    protocol = replace(frozen(EvaluationProtocol, given), batch_size=batch_size)
    if own.on_host and (attack_examples or linearity_examples):
        protocol = replace(protocol, attack_examples=None, linearity_examples=None)
        text = "Attacks and local linearity are left out: JAX cannot trace the model"
        remarks.append(f"{text} ({own.why}).")
    console = Console(stderr=True, quiet=quiet)
    for remark in remarks:
        console.print(remark, markup=False, highlight=False, soft_wrap=True)
    ahead = compiled_ahead(views, images, batch_size=batch_size)
    with ahead, console.status(f"{name}: evaluating") as status:
        found = suite.evaluate(
            own.logits_fn,
            (),
            images,
            labels,
            protocol,
            key=jax.random.key(SEED),
            corruptions=views,
            validation=held_out,
            unseen=unseen,
            on_host=own.on_host,
            progress=lambda part: status.update(
                f"{name}: {part} ({time.monotonic() - began:.0f} s)"
            ),
            say=remarks.append,
        )
    lines = _rows(found, name, dataset, corrupted.source, corrupted.frost_source)
    told = tuple(remarks), time.monotonic() - began, {"test": data.digests["test"]}
    return Results(name, dataset, lines, found, settings, *told)


def evaluate_logits(
    predictions: Mapping[Condition, Predictions] | Path | str,
    *,
    name: str = "model",
    dataset: str = "data",
    outputs: str = "logits",
    bins: int = 15,
    validation: Predictions | None = None,
    ood: Mapping[str, np.ndarray] | None = None,
) -> Results:
    """Measures a classifier from its saved logits: accuracy and calibration, clean and corrupted.

    Args:
      predictions: a file in the format that `logits_file` describes, or its content.
      name, dataset: what reports call the model and the images.
      outputs: what the arrays hold: "logits", or "probabilities".
      bins: number of bins of the calibration errors.
      validation: logits of images that a temperature is fitted on, and their classes.
      ood: logits of the images of other data sets, `[M, K]`, by name.

    Raises:
      ValueError: an array of the wrong shape or dtype; labels outside [0, K); `ood` without clean
        images.
    """
    if not isinstance(predictions, Mapping):
        predictions = logits_file.read(predictions)
    check_predictions(predictions, validation, ood or {})

    def scores(logits: np.ndarray) -> np.ndarray:
        found = logits.astype(np.float32)
        check_outputs(found, outputs)
        log = outputs == "probabilities"
        return np.log(np.maximum(found, SMALLEST_PROBABILITY)) if log else found

    settings: dict[str, Any] = {"outputs": outputs, "bins": bins}
    temperature, fitted_on = None, 0
    if validation is not None:
        fitted_on = len(validation.logits)
        label = label_rows(validation.labels, *validation.logits.shape)
        temperature = fit_temperature(scores(validation.logits), label)
        settings["validation_examples"] = fitted_on
    record = Record(num_bins=bins, keep_logits="all", temperature=temperature, fitted_on=fitted_on)
    checks.printable(name=name, dataset=dataset, **{f"ood[{n!r}]": n for n in ood or {}})
    for condition, (logits, labels) in predictions.items():
        record.add(condition, scores(logits), label_rows(labels, *logits.shape))
    for other, logits in (ood or {}).items():
        record.unseen(other, record.found.predictions[CLEAN].logits, scores(logits))
    lines = _rows(record.found, name, dataset, "files", "files")
    return Results(name, dataset, lines, record.found, settings)


def _rows(
    found: Evaluation, name: str, dataset: str, source: str, frost: str
) -> list[dict[str, Any]]:
    return rows(
        found,
        run=f"{dataset}-{name}",
        method=name,
        seed=0,
        step=0,
        dataset=dataset,
        corruption_source=source,
        frost_source=frost,
    )


def _data_set(name: str, images: np.ndarray, labels: np.ndarray) -> Dataset:
    """Test images alone as a data set, for code that checks files against one."""
    classes = labels.argmax(axis=1) if labels.ndim == 2 else labels
    names = tuple(str(number) for number in range(int(classes.max()) + 1))
    none = images[:0], classes[:0]
    pixels = np.round(images * 255).astype(np.uint8) if images.dtype != np.uint8 else images
    return Dataset(name, *none, *none, pixels, classes, names)
