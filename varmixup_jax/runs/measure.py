"""Measures a trained classifier: rows of results, and arrays that pictures are drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from varmixup_jax import cluster, logits_file
from varmixup_jax.declare import plain
from varmixup_jax.evaluation.compile_ahead import compiled_ahead
from varmixup_jax.evaluation.partial_results import Kept
from varmixup_jax.evaluation.record import reliability_arrays, rows
from varmixup_jax.evaluation.suite import Remember, computed, evaluate
from varmixup_jax.evaluation.tally import predict
from varmixup_jax.evaluation.views import spread
from varmixup_jax.models.forward import VAE
from varmixup_jax.runs.pictures import corruption_sheet, vae_curves, vae_pictures
from varmixup_jax.runs.preemption import PREEMPTION
from varmixup_jax.runs.setup import Setup
from varmixup_jax.runs.speaker import speaker
from varmixup_jax.runs.vae_store import reconstruct, store_root
from varmixup_jax.training.checkpoints import digest
from varmixup_jax.training.heartbeat import Heartbeat
from varmixup_jax.types import PyTree
from varmixup_jax.version import __version__

EVALUATION_SEED = 0  # of attacks, linearity and corruptions, the same for every run


class Measured(NamedTuple):
    """The files of an evaluation: `results.jsonl`, `artifacts.npz` and `logits.npz` (or {})."""

    rows: list[dict[str, Any]]
    arrays: dict[str, np.ndarray]
    logits: dict[str, np.ndarray]


def measured(
    setup: Setup,
    vae: VAE | None,
    variables: PyTree,
    who: dict[str, Any],
    directory: Path | None = None,
) -> Measured:
    """Evaluates a classifier as the section `eval` of the configuration says.

    Args:
      setup: the configuration, the data and the compiled measures.
      vae: the VAE it was trained with, for the pictures and for its accuracy on reconstructions.
      variables: parameters and statistics.
      who: run, method, seed and step, for the rows.
      directory: of the run; finished parts are kept there, so that an interrupted evaluation can be
        resumed. None keeps nothing, nor do several processes.
    """
    config, c, data = setup.config, setup.config.eval, setup.data
    say = speaker(config.quiet)
    evaluating = Heartbeat(say, f"{who['run']}: evaluating")
    with evaluating as progress, _kept(setup, variables, directory) as remember:

        def between(part: str) -> None:
            PREEMPTION.check()
            progress(part)

        chosen = spread(len(data.test_images), c.examples)
        images, labels = data.test_images[chosen], data.test_labels[chosen]
        views = setup.conditions.views(c.examples)
        put = setup.mapping.shard_batch
        with compiled_ahead(views, images, batch_size=c.batch_size, put=put):
            # One key for all runs: every method and seed is measured on the same corrupted images.
            found = evaluate(
                setup.logits,
                variables,
                images,
                labels,
                c,
                key=jax.random.key(EVALUATION_SEED),
                corruptions=views,
                validation=(data.val_images, data.val_labels) if len(data.val_images) else None,
                unseen=setup.unseen,
                put=put,
                progress=between,
                say=say,
                remember=remember,
            )
        between("pictures")
        lines = rows(
            found,
            dataset=data.name,
            corruption_source=setup.conditions.source,
            frost_source=setup.conditions.frost_source,
            **who,
        )
        for line in lines if data.num_classes == 2 else ():
            if line["metric"].startswith("apgd"):
                line["apgd_losses"] = "ce, without dlr, which needs three classes"
        arrays = reliability_arrays(found)
        if "reliability_corrupted_count" in arrays:
            # With the evaluation's batch size no new compilation, if it computed its views.
            rows_per_call = c.batch_size if setup.conditions.published is None else 1
            arrays |= corruption_sheet(
                setup.conditions.corrupt, data.test_images[0], rows_per_call, put
            )
        if vae:
            arrays |= vae_pictures(vae, data.test_images, config.vae.seed)
            arrays |= vae_curves(store_root(config.vae.store) / vae.info["key"] / "metrics.jsonl")
            # How much of what the classifier needs survives the VAE: its accuracy on D(mu(x)).
            restored = reconstruct(vae, images, c.batch_size, put)
            seen = predict(setup.logits, variables, restored, batch_size=c.batch_size, put=put)
            right = float(np.mean(seen.argmax(axis=1) == labels))
            line = {"metric": "reconstruction_accuracy", "value": right, "count": len(images)}
            lines.append({**lines[0], **line})
        logits = logits_file.as_arrays(found.predictions) if found.predictions else {}
        return Measured(lines, arrays, logits)


@contextmanager
def _kept(setup: Setup, variables: PyTree, directory: Path | None) -> Iterator[Remember]:
    """Keeps finished parts in `directory` until all are done; several processes keep nothing."""
    if directory is None or cluster.process_count() > 1:
        yield computed
        return
    data = setup.data
    images = digest((data.test_images, data.test_labels, data.val_images, data.val_labels))
    sources = (setup.conditions.source, setup.conditions.frost_source, __version__)
    kept = Kept(directory, [digest(variables), images, plain(setup.config.eval), sources])
    yield kept
    kept.discard()
