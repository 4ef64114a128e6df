"""One run: a classifier trained by one method with one seed, evaluated, and written down."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from varmixup_jax import models, report
from varmixup_jax.experiment import rundir
from varmixup_jax.experiment.gallery import vae_pictures
from varmixup_jax.experiment.setup import Setup
from varmixup_jax.experiment.vae import TrainedVAE
from varmixup_jax.training.checkpoints import SCORE, Checkpoints
from varmixup_jax.training.classifier import classifier_loss
from varmixup_jax.training.logs import RunLog, write_json
from varmixup_jax.training.loop import Hooks, NonFiniteError, Plan, fit, make_plan
from varmixup_jax.training.optim import make_optimizer, make_schedule
from varmixup_jax.training.step import evaluated, init_state, make_run, make_step
from varmixup_jax.types import PyTree, TrainState
from varmixup_jax.vicinal.methods import build
from varmixup_jax.vicinal.objective import empirical_risk

PROBE = 1000  # training images on which clean training accuracy is measured


def train_and_evaluate(
    config: ConfigDict,
    setup: Setup,
    vae: TrainedVAE | None,
    method: str,
    seed: int,
    directory: Path,
) -> dict[str, Any]:
    """Runs one method with one seed in its directory, or finds it done there.

    An interrupted run resumes from its last checkpoint and ends as the straight one would.

    Returns:
      The run's summary.

    Raises:
      Incompatible: the directory holds another configuration, or is in use.
      NonFiniteError: training diverged; the summary says "failed" and the checkpoints stay.
    """
    fields = rundir.run_config(config, method, seed)
    name = f"{setup.data.name}-{method}-s{seed}"
    summary = {
        "run": name,
        "method": method,
        "seed": seed,
        "dataset": setup.data.name,
        "status": "running",
        "checkpoint": config.eval.checkpoint,
        "vae": vae.info if vae else None,
        **rundir.provenance(),
    }
    with rundir.claimed(directory):
        rundir.check_same(directory, fields)
        write_json(directory / "config.json", fields)
        write_json(directory / "summary.json", summary)
        began = time.monotonic()
        try:
            plan, state, variables, step = _train(config, setup, vae, method, seed, directory)
        except NonFiniteError as error:
            write_json(
                directory / "summary.json", {**summary, "status": "failed", "error": str(error)}
            )
            raise
        trained = time.monotonic() - began
        params, stats = state.params, state.stats
        rows, arrays = _evaluate(config, setup, vae, variables, seed)
        rows = [{"run": name, "method": method, "seed": seed, "step": step, **row} for row in rows]
        rundir.save_arrays(directory / "artifacts.npz", arrays)
        rundir.write_rows(directory / "results.jsonl", rows)
        summary |= {
            "status": "done",
            "steps": plan.total_steps,
            "epochs": config.epochs,
            "wall_seconds": time.monotonic() - began,
            "train_seconds": trained,
            "evaluated_step": step,
            "params_sha256": rundir.digest((params, stats)),
            "parameters": sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params)),
        }
        write_json(directory / "summary.json", summary)
        report.pictures(directory)
    return summary


def _train(
    config: ConfigDict,
    setup: Setup,
    vae: TrainedVAE | None,
    method: str,
    seed: int,
    directory: Path,
) -> tuple[Plan, TrainState, PyTree, int]:
    """Trains, resuming where a checkpoint is: the plan, the last state, what to evaluate, its step."""
    data, mapping, c = setup.data, setup.mapping, config.optim
    plan = make_plan(
        examples=len(data.train_images),
        batch_size=config.batch_size,
        epochs=config.epochs,
        steps_per_call=setup.steps_per_call,
        eval_epochs=config.eval.every_epochs,
    )
    schedule = make_schedule(
        c.schedule,
        learning_rate=c.learning_rate,
        total_steps=plan.total_steps,
        warmup=c.warmup,
        boundaries=tuple(c.boundaries),
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
        build(method, **config.methods[method].to_dict()), setup.apply, attack_bn=config.attack_bn
    )
    loss = classifier_loss(
        risk, num_classes=data.num_classes, augment=setup.augment, vae=vae.vae if vae else None
    )
    fixed = {"images": data.train_images, "labels": data.train_labels}
    if vae:
        fixed |= {"vae": vae.params, "latents": vae.latents}

    init_key, run_key = jax.random.split(jax.random.key(seed))
    image = jax.ShapeDtypeStruct((1, *data.image_shape), jnp.float32)
    variables = models.init(setup.module, init_key, image, train=False)
    fresh = init_state(
        variables["params"], variables.get("batch_stats", {}), tx, ema_decay=config.ema_decay
    )
    state = mapping.replicate(fresh)
    select = len(data.val_images) > 0
    with Checkpoints(
        directory / "checkpoints", keep=config.checkpoints.keep, best=select
    ) as checkpoints:
        restored = checkpoints.restore_latest(mapping.collect(state))
        if restored is not None:
            state = mapping.replicate(restored)
        start = int(mapping.collect(state).step)
        if start < plan.total_steps:
            step = make_step(loss, tx, ema_decay=config.ema_decay, axis_name=mapping.axis_name)
            with RunLog(
                directory,
                start if start else None,
                method=f"{method} s{seed}",
                total_steps=plan.total_steps,
                total_epochs=round(config.epochs),
                quiet=config.quiet,
            ) as log:
                if start:
                    log.say(f"{method} s{seed}: resuming at step {start} of {plan.total_steps}")
                state = fit(
                    mapping.compile(make_run(step)),
                    state,
                    mapping.replicate(fixed),
                    plan,
                    start=start,
                    key=run_key,
                    data_seed=seed,
                    mapping=mapping,
                    hooks=_hooks(setup, plan, schedule, log, checkpoints),
                )
        checkpoints.wait()
        last = mapping.collect(state)
        chosen, chosen_step = last, plan.total_steps
        if config.eval.checkpoint == "best":
            chosen_step = checkpoints.best_step()
            chosen = checkpoints.restore(chosen_step, last)
    return plan, last, evaluated(chosen), chosen_step


def _hooks(setup: Setup, plan: Plan, schedule: Any, log: RunLog, checkpoints: Checkpoints) -> Hooks:
    data, mapping, evaluator = setup.data, setup.mapping, setup.evaluator
    clock = {"last": time.monotonic()}

    def metrics(step: int, means: dict[str, float], images: int) -> None:
        now = time.monotonic()
        speed, clock["last"] = images / max(now - clock["last"], 1e-9), now
        log.metrics(
            step,
            epoch=step / plan.steps_per_epoch,
            learning_rate=float(schedule(step - 1)),
            images_per_second=speed,
            **means,
        )

    def evaluate(step: int, state: TrainState) -> None:
        plain = mapping.collect(state)
        variables = evaluated(plain)
        seen = {}
        if len(data.val_images):
            found = evaluator.quick(variables, data.val_images, data.val_labels)
            seen = {SCORE: found["accuracy"], "val_nll": found["nll"]}
        probe = evaluator.quick(variables, data.train_images[:PROBE], data.train_labels[:PROBE])
        log.metrics(
            step, epoch=step / plan.steps_per_epoch, clean_accuracy=probe["accuracy"], **seen
        )
        score = {SCORE: seen[SCORE]} if seen else None
        checkpoints.save(step, plain, score)
        clock["last"] = time.monotonic()

    return Hooks(metrics, evaluate)


def _evaluate(
    config: ConfigDict, setup: Setup, vae: TrainedVAE | None, variables: PyTree, seed: int
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Rows of results, and the arrays that the pictures are drawn from."""
    data, evaluator = setup.data, setup.evaluator
    found, bins = evaluator.measures(variables, data.test_images, data.test_labels)
    key = jax.random.fold_in(jax.random.key(seed), 1)
    found += evaluator.robustness(variables, data.test_images, data.test_labels, key)
    rows = [
        {
            "dataset": data.name,
            "split": "test",
            "corruption": "none",
            "severity": 0,
            **measure._asdict(),
        }
        for measure in found
    ]
    count = np.maximum(np.asarray(bins.count), 1.0)
    arrays = {
        "reliability_count": np.asarray(bins.count),
        "reliability_confidence": np.asarray(bins.confidence) / count,
        "reliability_accuracy": np.asarray(bins.correct) / count,
    }
    if vae:
        arrays |= vae_pictures(vae, data.test_images, config.vae.seed)
    return rows, arrays
