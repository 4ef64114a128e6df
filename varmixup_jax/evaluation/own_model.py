"""Adapts any classifier to the suite, and checks that its inputs and outputs are read correctly."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax import checks, corruptions
from varmixup_jax.evaluation.tally import batch_logits, host_logits, map_batches
from varmixup_jax.logits_file import Condition, Predictions
from varmixup_jax.types import Array, PyTree

LAYOUTS = ("NHWC", "NCHW")
OUTPUTS = ("logits", "probabilities")
SMALLEST_PROBABILITY = 2.0**-52
"""Replaces a probability of 0, whose logarithm is infinite, as in scikit-learn's `log_loss`."""


class OwnModel(NamedTuple):
    """A classifier for `suite.evaluate`.

    Attributes:
      logits_fn: `((), image [B, H, W, C]) -> logits [B, K]`.
      on_host: whether it takes and returns host arrays.
      why: JAX's error for a function it cannot trace, "" for one it can.
    """

    logits_fn: Callable[[PyTree, Any], Any]
    on_host: bool
    why: str


def adapt(model: Callable[[Any], Any], images: np.ndarray, layout: str, outputs: str) -> OwnModel:
    """A model of a batch of pixels in [0, 1], as a function from NHWC batches to logits.

    Args:
      model: a JAX function, or any callable that takes a float32 NumPy batch and returns an array or
        tensor; a `torch.nn.Module` gets tensors on its own device, without gradients.
      images: `[N, H, W, C]`: the model is traced with their shape.
      layout: what the model takes, "NHWC" or "NCHW".
      outputs: what it returns, "logits" or "probabilities".

    Raises:
      TypeError: it cannot be called. ValueError: an unknown layout or kind of outputs, or a module
        in training mode.
    """
    checks.one_of(LAYOUTS, layout=layout)
    checks.one_of(OUTPUTS, outputs=outputs)
    if not callable(model):
        raise TypeError(
            f"logits_fn = {checks.shown(model)}: must be a callable of a batch of images"
        )
    model, log = _of_tensors(model), outputs == "probabilities"

    def traced(variables: PyTree, image: Array) -> Array:
        del variables
        found = model(image.transpose(0, 3, 1, 2) if layout == "NCHW" else image)
        return jnp.log(jnp.maximum(found, SMALLEST_PROBABILITY)) if log else found

    def on_host(variables: PyTree, image: np.ndarray) -> np.ndarray:
        del variables
        batch = image.transpose(0, 3, 1, 2) if layout == "NCHW" else image
        found = _host(model(np.ascontiguousarray(batch)))
        return np.log(np.maximum(found, SMALLEST_PROBABILITY)) if log else found

    try:
        shape = jax.ShapeDtypeStruct((2, *images.shape[1:]), jnp.float32)
        jax.eval_shape(partial(traced, ()), shape)
    except Exception as error:  # from whatever library the model uses
        said = checks.one_line(error).split(" The error occurred")[0]  # then: where in JAX
        return OwnModel(on_host, True, f"{type(error).__name__}: {said[: checks.SHOWN]}")
    return OwnModel(traced, False, "")


def check(own: OwnModel, images: np.ndarray, outputs: str, batch_size: int) -> None:
    """Runs the model on one batch twice, and refuses what would be measured wrongly.

    Raises:
      ValueError: outputs that are not `[B, K]`, that look like probabilities where logits are
        expected or the reverse, or that change with the rest of the batch or from call to call.
    """
    fn = partial(host_logits if own.on_host else batch_logits, own.logits_fn, ())

    def run(count: int) -> np.ndarray:
        return map_batches(fn, (images[:count],), batch_size=batch_size)

    if not own.on_host:
        shape = jax.ShapeDtypeStruct((2, *images.shape[1:]), jnp.float32)
        _check_shape(jax.eval_shape(partial(own.logits_fn, ()), shape).shape, 2)
    else:
        first = images[:2]
        pixels = first / 255.0 if first.dtype == np.uint8 else first
        _check_shape(own.logits_fn((), np.asarray(pixels, np.float32)).shape, len(first))
    logits = run(batch_size)
    check_outputs(np.exp(logits) if outputs == "probabilities" else logits, outputs)
    half = run(max(1, len(logits) // 2))
    moved = np.abs(half - logits[: len(half)]).max()
    if moved > 0.05 * max(float(np.ptp(logits)), 1e-6):
        text = "its output for an image changes with the rest of the batch or from call to call"
        raise ValueError(f"logits_fn: {text}, must be in evaluation mode")


def check_outputs(found: np.ndarray, outputs: str) -> None:
    """Refuses `[N, K]` outputs that are not what `outputs` says: "logits" or "probabilities".

    Raises:
      ValueError: rows of probabilities that do not sum to 1, rows of logits that all do.
    """
    checks.one_of(OUTPUTS, outputs=outputs)
    sums = found.astype(np.float64).sum(axis=1)
    off = np.abs(sums - 1.0)
    if outputs == "probabilities" and (found.min() < 0 or off.max() > 1e-3):
        text = f"a row sums to {sums[off.argmax()]:.4g}, rows must be >= 0 and sum to 1"
        raise ValueError(f"outputs = probabilities: {text} (outputs=logits for other scores)")
    # Fractions, percentages or votes of a forest: logits that differ never have equal row sums.
    same = np.ptp(sums) < 1e-3 * sums.max() and (found != found[0]).any()
    if outputs == "logits" and found.min() >= 0 and (same or off.max() < 1e-3):
        text = f"rows are >= 0 and sum to {sums[0]:.3g}, must be scores before softmax"
        raise ValueError(f"outputs = logits: {text} (outputs=probabilities for probabilities)")


def check_predictions(
    predictions: Mapping[Condition, Predictions],
    validation: Predictions | None,
    ood: Mapping[str, np.ndarray],
) -> None:
    """Raises ValueError if the numbers of classes differ, a corruption is unknown to reports, the
    validation set is the test set, or there are OOD sets but no clean images."""
    for corruption, _ in predictions:
        checks.one_of(("none", *corruptions.FUNCTIONS), corruption=corruption)
    every = [logits for logits, _ in predictions.values()] + list(ood.values())
    if validation is not None:
        every.append(validation.logits)
    classes = sorted({logits.shape[1] for logits in every})
    if len(classes) > 1:
        found = " and ".join(map(str, classes))
        raise ValueError(f"predictions: have {found} classes, must all have the same number")
    clean = predictions.get(("none", 0))
    if ood and clean is None:
        raise ValueError("ood: is compared with the clean images, whose logits are missing")
    if validation and clean and np.array_equal(validation.logits, clean.logits):
        raise ValueError("validation: are the logits of the test images, must be held-out ones")


def as_images(
    images: Any, layout: str, name: str = "images", like: np.ndarray | None = None
) -> np.ndarray:
    """Images as `[N, H, W, C]`, uint8 or float32 in [0, 1], on the host.

    Raises:
      TypeError: another dtype. ValueError: another shape, values outside [0, 1], channels on the
        wrong axis for `layout`, or a shape that differs from that of the images in `like`.
    """
    checks.one_of(LAYOUTS, layout=layout)
    images = _host(images)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"{name}: has shape {images.shape}, must be [N, {', '.join(layout[1:])}]")
    own, other = (3, 1) if layout == "NHWC" else (1, 3)
    if images.shape[own] not in (1, 3) and images.shape[other] in (1, 3):
        right = LAYOUTS[1 - LAYOUTS.index(layout)]
        text = f"must be {layout}; pass layout={right!r} where images and model are {right}"
        raise ValueError(f"{name}: has shape {images.shape}, {text}")
    if images.dtype != np.uint8:
        checks.pixels(**{name: images})
        if not np.isfinite(images).all():
            raise ValueError(f"{name}: has values that are not finite, must lie in [0, 1]")
        images = images.astype(np.float32)
    brightest = float(images.max()) * (255 if images.dtype != np.uint8 else 1)
    if 0 < brightest <= 1.001:
        text = f"largest value is {images.max():.3g} of {images.dtype}, must be up to"
        remedy = "floats in [0, 1] are neither cast to uint8 nor divided by 255 again"
        top = 255 if images.dtype == np.uint8 else 1
        raise ValueError(f"{name}: {text} {top}; {remedy}")
    if layout == "NCHW":
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    if like is not None and images.shape[1:] != like.shape[1:]:
        found, wanted = (list(one.shape[1:]) for one in (images, like))
        raise ValueError(f"{name}: has images {found}, must be {wanted} as the test images")
    return images


def _check_shape(shape: tuple[int, ...], rows: int) -> None:
    if len(shape) != 2 or shape[0] != rows or shape[1] < 2:
        text = f"returns shape {list(shape)} for {rows} images, must be [{rows}, classes]"
        raise ValueError(f"logits_fn: {text}, at least 2 classes")


def _host(value: Any) -> np.ndarray:
    """An array of NumPy, JAX or PyTorch (on any device, with or without gradient) as NumPy."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value  # NumPy has no bfloat16
    return np.asarray(value)


def _of_tensors(model: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A `torch.nn.Module` as a function of NumPy batches; anything else as it is."""
    torch = sys.modules.get("torch")  # imported already if `model` is a module
    if torch is None or not isinstance(model, torch.nn.Module):
        return model
    if model.training:
        raise ValueError(
            "logits_fn: the module is in training mode, must be in evaluation: .eval()"
        )
    weights = next(model.parameters(), None)
    device = "cpu" if weights is None else weights.device

    def of_arrays(batch: np.ndarray) -> Any:
        with torch.no_grad():
            return model(torch.from_numpy(np.array(batch)).to(device))

    return of_arrays
