"""One run: trains a classifier by one method with one seed, evaluates it and writes the results."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from varmixup_jax import cluster, models, report
from varmixup_jax.atomic_files import write_arrays
from varmixup_jax.evaluation.suite import label_rows
from varmixup_jax.evaluation.tally import predict
from varmixup_jax.fields import Config
from varmixup_jax.losses import cross_entropy
from varmixup_jax.methods import METHODS, build
from varmixup_jax.models.forward import MEASURED_IN, VAE
from varmixup_jax.models.saved import FILE, as_arrays
from varmixup_jax.runs import peak_memory, run_directory
from varmixup_jax.runs.measure import measured
from varmixup_jax.runs.resume import Task, Trained, Watch, fitted
from varmixup_jax.runs.setup import Setup
from varmixup_jax.runs.speaker import speaker
from varmixup_jax.training.checkpoints import SCORE, digest
from varmixup_jax.training.classifier_loss import classifier_loss
from varmixup_jax.training.heartbeat import Heartbeat
from varmixup_jax.training.loop import NonFiniteError, make_plan
from varmixup_jax.training.optim import make_optimizer, make_schedule
from varmixup_jax.training.step import evaluated, init_state
from varmixup_jax.types import Array, PyTree, TrainState
from varmixup_jax.vicinal.objective import empirical_risk

PROBE = 1000  # training images on which clean training accuracy is measured


def train_and_evaluate(
    setup: Setup, vae: VAE | None, method: str, seed: int, directory: Path
) -> dict[str, Any]:
    """Runs one method with one seed in its directory, unless it is already done there.

    An interrupted run resumes from its last checkpoint and ends as an uninterrupted one would.

    Returns:
      The run's summary.

    Raises:
      Incompatible: the directory holds another configuration, or is in use.
      NonFiniteError: training diverged; the summary says "failed" and the checkpoints stay.
    """
    config, say = setup.config, speaker(setup.config.quiet)
    fields = run_directory.run_config(config, method, seed)
    name = f"{setup.data.name}-{method}-s{seed}"
    summary = {
        "run": name,
        "method": method,
        "seed": seed,
        "dataset": setup.data.name,
        "data": setup.data.digests,
        "status": "running",
        "checkpoint": config.eval.checkpoint,
        "measured_in": MEASURED_IN,
        "vae": vae.info if vae else None,
        **run_directory.provenance(),
    }
    with run_directory.claimed(directory):
        cluster.on_lead(lambda: run_directory.check_same(directory, fields))
        cluster.on_lead(lambda: run_directory.check_data(setup.data.digests, directory))
        note = cluster.on_lead(lambda: run_directory.moved(directory, summary["device"]))
        if note:
            say(f"{name}: {note}")
        run_directory.write(directory, config=fields, summary=summary)
        peak_memory.hand_back()
        measurable = peak_memory.begin_peak()
        began = time.monotonic()
        try:
            trained = _train(setup, vae, method, seed, directory)
        except NonFiniteError as error:
            run_directory.write(
                directory, summary={**summary, "status": "failed", "error": str(error)}
            )
            raise
        train_seconds = time.monotonic() - began
        last, variables = trained.last, evaluated(trained.chosen)
        who = {"run": name, "method": method, "seed": seed, "step": trained.step}
        cluster.on_lead(lambda: _keep(setup, vae, variables, who, directory))
        results = measured(setup, vae, variables, who, directory)
        cluster.on_lead(lambda: run_directory.write_results(directory, *results))
        summary |= {
            "status": "done",
            "steps": int(last.step),
            "epochs": epochs_of(config, method),
            "wall_seconds": time.monotonic() - began,
            "train_seconds": train_seconds,
            "evaluated_step": trained.step,
            "params_sha256": digest((last.params, last.stats)),
            "parameters": sum(int(np.size(leaf)) for leaf in jax.tree.leaves(last.params)),
            "peak_rss_mib": peak_memory.peak_mib() if measurable else None,
        }
        run_directory.write(directory, summary=summary)
        with Heartbeat(say, f"{name}: drawing pictures"):
            cluster.on_lead(lambda: report.pictures(directory) and None)
    return summary


def _keep(
    setup: Setup,
    vae: VAE | None,
    variables: tuple[PyTree, PyTree],
    who: dict[str, Any],
    directory: Path,
) -> None:
    """Writes the model file, from which the classifier can be loaded and evaluated again."""
    data = setup.data
    arrays = as_arrays(
        setup.module,
        *variables,
        vae=vae,
        dataset=data.name,
        data=data.digests,
        image_shape=data.image_shape,
        label_names=data.label_names,
        **who,
    )
    write_arrays(directory / FILE, arrays)


def epochs_of(config: Config, method: str) -> float:
    """Epochs of a method: `attack_epochs`, if set, for methods that attack, else `epochs`."""
    attacks = METHODS[method].attacks
    return config.attack_epochs if attacks and config.attack_epochs else config.epochs


def _train(setup: Setup, vae: VAE | None, method: str, seed: int, directory: Path) -> Trained:
    config, data, c = setup.config, setup.data, setup.config.optim
    plan = make_plan(
        examples=len(data.train_images),
        batch_size=config.batch_size,
        epochs=epochs_of(config, method),
        steps_per_call=setup.steps_per_call,
        eval_epochs=config.eval.every_epochs,
    )
    schedule = make_schedule(
        c.schedule,
        learning_rate=c.learning_rate,
        total_steps=plan.total_steps,
        warmup=c.warmup,
        boundaries=c.boundaries,
        decay=c.decay,
    )
    tx = make_optimizer(
        c.name,
        schedule,
        momentum=c.momentum,
        nesterov=c.nesterov,
        weight_decay=c.weight_decay,
        clip_norm=c.clip_norm,
    )
    risk = empirical_risk(
        build(method, **config.methods[method]), setup.apply, attack_bn=config.attack_bn
    )
    others = vae.others if vae else ()
    loss = classifier_loss(
        risk,
        num_classes=data.num_classes,
        augment=setup.augment,
        vae=vae,
        others=others,
        drawn=config.vae.drawn,
    )
    fixed: dict[str, PyTree] = {"images": data.train_images, "labels": data.train_labels}
    if vae:
        fixed |= {"vae": vae.params, "latents": vae.latents}
    if others:
        fixed["others"] = tuple((other.params, other.latents) for other in others)

    init_key, run_key = jax.random.split(jax.random.key(seed))
    image = jax.ShapeDtypeStruct((1, *data.image_shape), jnp.float32)
    name = f"{method} s{seed}"
    with Heartbeat(speaker(config.quiet), f"{name}: initialising the weights"):
        variables = models.init(init_key, setup.module, image, train=False)
    fresh = init_state(
        variables["params"], variables.get("batch_stats", {}), tx, ema_decay=config.ema_decay
    )
    return fitted(
        Task(name, loss, tx, config.ema_decay, fresh, fixed, plan, run_key, seed),
        directory,
        setup.mapping,
        watch=_watch(setup, schedule, plan.total_steps),
        keep=config.checkpoints.keep,
        select=len(data.val_images) > 0,
        best=config.eval.checkpoint == "best",
        flat=config.parallel.flat,
        quiet=config.quiet,
    )


def _watch(setup: Setup, schedule: optax.Schedule, steps: int) -> Watch:
    data, size = setup.data, setup.config.eval.batch_size

    def quick(variables: PyTree, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
        put = setup.mapping.shard_batch
        scores = predict(setup.validation_logits, variables, images, batch_size=size, put=put)
        nll = _mean_nll(scores, label_rows(labels, *scores.shape))
        return float(np.mean(scores.argmax(axis=1) == labels)), float(nll)

    def validate(state: TrainState) -> dict[str, float]:
        variables = evaluated(state)
        probe, _ = quick(variables, data.train_images[:PROBE], data.train_labels[:PROBE])
        seen = {"clean_accuracy": probe}
        if len(data.val_images):
            accuracy, nll = quick(variables, data.val_images, data.val_labels)
            seen |= {SCORE: accuracy, "val_nll": nll}
        return seen

    # All rates at once, so that no device is queried between chunks.
    rates = np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(steps)))
    return Watch(lambda step: {"learning_rate": float(rates[step - 1])}, validate)


@jax.jit
def _mean_nll(logits: Array, label: Array) -> Array:
    return jnp.mean(cross_entropy(logits, label))
