"""One run: a classifier trained by one method with one seed, evaluated, and written down."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from varmixup_jax import corruptions, models, report
from varmixup_jax.evaluation.calibration import Bins, merge
from varmixup_jax.evaluation.suite import evaluate, label_rows, rows
from varmixup_jax.evaluation.tally import predict
from varmixup_jax.evaluation.views import View, computed_views
from varmixup_jax.experiment import rundir
from varmixup_jax.experiment.gallery import corruption_sheet, vae_pictures
from varmixup_jax.experiment.setup import Setup
from varmixup_jax.experiment.vae import TrainedVAE
from varmixup_jax.losses import cross_entropy
from varmixup_jax.training.checkpoints import SCORE, Checkpoints
from varmixup_jax.training.classifier import classifier_loss
from varmixup_jax.training.logs import RunLog, write_json
from varmixup_jax.training.loop import Hooks, NonFiniteError, Plan, fit, make_plan
from varmixup_jax.training.optim import make_optimizer, make_schedule
from varmixup_jax.training.step import evaluated, init_state, make_run, make_step
from varmixup_jax.types import PyTree, TrainState
from varmixup_jax.vicinal.methods import build
from varmixup_jax.vicinal.objective import empirical_risk

EVALUATION_SEED = 0  # of attacks, linearity and corruptions, the same for every run
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
        who = {"run": name, "method": method, "seed": seed, "step": step}
        lines, arrays = _evaluate(config, setup, vae, variables, who)
        rundir.save_arrays(directory / "artifacts.npz", arrays)
        rundir.write_rows(directory / "results.jsonl", lines)
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
                    hooks=_hooks(config, setup, plan, schedule, log, checkpoints),
                )
        checkpoints.wait()
        last = mapping.collect(state)
        chosen, chosen_step = last, plan.total_steps
        if config.eval.checkpoint == "best":
            chosen_step = checkpoints.best_step()
            chosen = checkpoints.restore(chosen_step, last)
    return plan, last, evaluated(chosen), chosen_step


def _hooks(
    config: ConfigDict,
    setup: Setup,
    plan: Plan,
    schedule: Any,
    log: RunLog,
    checkpoints: Checkpoints,
) -> Hooks:
    data, mapping = setup.data, setup.mapping
    clock = {"last": time.monotonic()}

    def quick(variables: PyTree, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        size = config.eval.batch_size
        put = mapping.shard_batch
        scores = predict(setup.logits, variables, images, batch_size=size, put=put)
        nll = cross_entropy(jnp.asarray(scores), label_rows(labels, *scores.shape))
        right = scores.argmax(axis=1) == labels
        return {"accuracy": float(np.mean(right)), "nll": float(jnp.mean(nll))}

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
            found = quick(variables, data.val_images, data.val_labels)
            seen = {SCORE: found["accuracy"], "val_nll": found["nll"]}
        probe = quick(variables, data.train_images[:PROBE], data.train_labels[:PROBE])
        log.metrics(
            step, epoch=step / plan.steps_per_epoch, clean_accuracy=probe["accuracy"], **seen
        )
        score = {SCORE: seen[SCORE]} if seen else None
        checkpoints.save(step, plain, score)
        clock["last"] = time.monotonic()

    return Hooks(metrics, evaluate)


def _evaluate(
    config: ConfigDict, setup: Setup, vae: TrainedVAE | None, variables: PyTree, who: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Rows of results, and the arrays that the pictures are drawn from."""
    c, data = config.eval, setup.data
    # One key for all runs: every method and seed is measured on the same corrupted images.
    found = evaluate(
        setup.logits,
        variables,
        data.test_images,
        data.test_labels,
        key=jax.random.key(EVALUATION_SEED),
        batch_size=c.batch_size,
        num_bins=c.bins,
        corruptions=_views(config, setup),
        attack_eps=c.attack_eps,
        attack_restarts=c.attack_restarts,
        attack_images=c.attack_examples or None,
        pgd_steps=c.attack_steps if c.attack_examples else 0,
        pgd_step_size=c.attack_step_size,
        apgd_steps=c.apgd_steps if c.attack_examples else 0,
        linearity_eps=tuple(c.linearity_eps) if c.linearity_examples else (),
        linearity_steps=c.linearity_steps,
        linearity_restarts=c.linearity_restarts,
        linearity_images=c.linearity_examples or None,
        put=setup.mapping.shard_batch,
    )
    lines = [row._asdict() for row in rows(found, dataset=data.name, split="test", **who)]
    for line in lines:
        if line["corruption"] != "none":
            line["corruption_source"] = "computed"
        if line["corruption"] == "frost":
            line["frost_source"] = corruptions.frost_source(None)
    arrays = _reliability(found.bins["none", 0], "reliability")
    corrupted = [bins for (name, _), bins in found.bins.items() if name in corruptions.NAMES]
    if corrupted:
        arrays |= _reliability(merge(*corrupted), "reliability_corrupted")
        arrays |= corruption_sheet(setup.corrupt, data.test_images[0])
    if vae:
        arrays |= vae_pictures(vae, data.test_images, config.vae.seed)
    return lines, arrays


def _views(config: ConfigDict, setup: Setup) -> Iterable[View]:
    if config.eval.corruptions == "none":
        return ()
    return computed_views(setup.corrupt, corruptions.NAMES, corruptions.SEVERITIES)


def _reliability(bins: Bins, name: str) -> dict[str, np.ndarray]:
    count = np.maximum(np.asarray(bins.count), 1.0)
    return {
        f"{name}_count": np.asarray(bins.count),
        f"{name}_confidence": np.asarray(bins.confidence) / count,
        f"{name}_accuracy": np.asarray(bins.correct) / count,
    }
