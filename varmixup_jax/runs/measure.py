"""What is measured on a trained classifier: rows of results, and arrays that pictures are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from varmixup_jax import corruptions, logits_file
from varmixup_jax.evaluation.calibration import Bins, merge
from varmixup_jax.evaluation.suite import evaluate, rows, spread
from varmixup_jax.evaluation.tally import predict
from varmixup_jax.evaluation.views import View, computed_views
from varmixup_jax.runs.pictures import corruption_sheet, vae_curves, vae_pictures
from varmixup_jax.runs.setup import Setup
from varmixup_jax.runs.speaker import speaker
from varmixup_jax.runs.vae_store import TrainedVAE, store_root
from varmixup_jax.training.heartbeat import Heartbeat
from varmixup_jax.types import PyTree

EVALUATION_SEED = 0  # of attacks, linearity and corruptions, the same for every run


class Measured(NamedTuple):
    """The files of an evaluation: `results.jsonl`, `artifacts.npz` and `logits.npz` (or {})."""

    rows: list[dict[str, Any]]
    arrays: dict[str, np.ndarray]
    logits: dict[str, np.ndarray]


def measured(
    config: ConfigDict, setup: Setup, vae: TrainedVAE | None, variables: PyTree, who: dict[str, Any]
) -> Measured:
    """Evaluates a classifier as the configuration says.

    Args:
      config: its section `eval`.
      setup: the data and the compiled measures.
      vae: the VAE it was trained with, for the pictures and for its accuracy on reconstructions.
      variables: parameters and statistics.
      who: run, method, seed and step, for the rows.
    """
    with Heartbeat(speaker(config), f"{who['run']}: evaluating") as progress:

        def between(part: str) -> None:
            setup.preemption.check()
            progress(part)

        return _measured(config, setup, vae, variables, who, between)


def _measured(
    config: ConfigDict,
    setup: Setup,
    vae: TrainedVAE | None,
    variables: PyTree,
    who: dict[str, Any],
    progress: Callable[[str], None],
) -> Measured:
    c, data = config.eval, setup.data
    chosen = spread(len(data.test_images), c.examples or None)
    images, labels = data.test_images[chosen], data.test_labels[chosen]
    # One key for all runs: every method and seed is measured on the same corrupted images.
    found = evaluate(
        setup.logits,
        variables,
        images,
        labels,
        key=jax.random.key(EVALUATION_SEED),
        batch_size=c.batch_size,
        num_bins=c.bins,
        corruptions=_views(setup, c.examples or None),
        keep_logits=c.save_logits,
        attack_eps=c.attack_eps,
        attack_restarts=c.attack_restarts,
        attack_images=c.attack_examples or None,
        pgd_steps=c.attack_steps if c.attack_examples else 0,
        pgd_step_size=c.attack_step_size,
        apgd_steps=c.apgd_steps if c.attack_examples else 0,
        linearity_eps=tuple(c.linearity_eps) if c.linearity_examples else (),
        linearity_steps=c.linearity_steps,
        linearity_restarts=c.linearity_restarts,
        linearity_relative_step=c.linearity_relative_step,
        linearity_images=c.linearity_examples or None,
        put=setup.mapping.shard_batch,
        progress=progress,
    )
    progress("pictures")
    lines = [row._asdict() for row in rows(found, dataset=data.name, split="test", **who)]
    for line in lines:
        if line["corruption"] != "none":
            line["corruption_source"] = setup.corruption_source
        if line["corruption"] == "frost":
            line["frost_source"] = setup.frost_source
    arrays = _reliability(found.bins["none", 0], "reliability")
    corrupted = [bins for (name, _), bins in found.bins.items() if name in corruptions.NAMES]
    if corrupted:
        arrays |= _reliability(merge(*corrupted), "reliability_corrupted")
        # The evaluation's own programs, where it computed its views.
        rows_per_call = c.batch_size if setup.published is None else 1
        put = setup.mapping.shard_batch
        arrays |= corruption_sheet(setup.corrupt, data.test_images[0], rows_per_call, put)
    if vae:
        arrays |= vae_pictures(vae, data.test_images, config.vae.seed)
        arrays |= vae_curves(store_root(config) / vae.info["key"] / "metrics.jsonl")
        lines.append(_on_reconstructions(config, setup, vae, variables, images, labels, lines[0]))
    logits = logits_file.as_arrays(found.predictions) if found.predictions else {}
    return Measured(lines, arrays, logits)


def _views(setup: Setup, examples: int | None) -> Iterable[View]:
    if setup.corruption_source == "none":
        return
    if setup.published is None:
        yield from computed_views(setup.corrupt, corruptions.NAMES, corruptions.SEVERITIES)
        return
    # One at a time: a published set does not fit in memory.
    published = setup.published
    for name in published.names:
        for severity in corruptions.SEVERITIES:
            images, labels = published.read(name, severity, 0, len(published.labels))
            kept = spread(len(published.labels), examples)
            yield View(name, severity, images=images[kept], labels=labels[kept])


def _on_reconstructions(
    config: ConfigDict,
    setup: Setup,
    vae: TrainedVAE,
    variables: PyTree,
    images: np.ndarray,
    labels: np.ndarray,
    clean: dict[str, Any],
) -> dict[str, Any]:
    """Accuracy on D(mu(x)) of the test images: what the VAE keeps of what the classifier needs."""
    size = config.eval.batch_size
    put = setup.mapping.shard_batch
    restored = vae.reconstruct(images, size, put)
    logits = predict(setup.logits, variables, restored, batch_size=size, put=put)
    right = float(np.mean(logits.argmax(axis=1) == labels))
    return {**clean, "metric": "reconstruction_accuracy", "value": right, "count": len(images)}


def _reliability(bins: Bins, name: str) -> dict[str, np.ndarray]:
    count = np.maximum(np.asarray(bins.count), 1.0)
    return {
        f"{name}_count": np.asarray(bins.count),
        f"{name}_confidence": np.asarray(bins.confidence) / count,
        f"{name}_accuracy": np.asarray(bins.correct) / count,
    }
