"""Training in a directory: from the last checkpoint there to the end of the plan, with a log.

`fitted` trains both classifier and VAE; what is specific to each is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import optax

from varmixup_jax import cluster
from varmixup_jax.runs.preemption import PREEMPTION, Preemption
from varmixup_jax.training.checkpoints import SCORE, Checkpoints
from varmixup_jax.training.flat import make_flat_run
from varmixup_jax.training.logs import RunLog
from varmixup_jax.training.loop import Hooks, Plan, check_finite, fit
from varmixup_jax.training.parallel import Mapping
from varmixup_jax.training.step import Loss, make_run, make_step
from varmixup_jax.types import Key, PyTree, TrainState

NO_SCORE = {SCORE: -1.0}  # for a state saved on a signal, without validation: never the best


class Task(NamedTuple):
    """What is trained, and how.

    Attributes:
      name: the prefix of every line of the log.
      loss, tx, ema_decay: as in `make_step`.
      fresh: the state before the first step.
      fixed: what is not trained, on the host.
      plan: number of steps, steps per call and validation interval.
      key: of the run.
      data_seed: of the order of the data.
    """

    name: str
    loss: Loss
    tx: optax.GradientTransformation
    ema_decay: float
    fresh: TrainState
    fixed: PyTree
    plan: Plan
    key: Key
    data_seed: int


class Watch(NamedTuple):
    """What is logged along the way.

    Attributes:
      each: `step -> values`, logged with the means of the metrics.
      validate: `state -> values`; with `select` they contain the score, `val_accuracy`.
    """

    each: Callable[[int], dict[str, float]] = lambda step: {}
    validate: Callable[[TrainState], dict[str, float]] = lambda state: {}


NOTHING = Watch()


class Trained(NamedTuple):
    """The state after the last step, the state to evaluate, and the latter's step."""

    last: TrainState
    chosen: TrainState
    step: int


def fitted(
    task: Task,
    directory: Path,
    mapping: Mapping,
    *,
    preemption: Preemption = PREEMPTION,
    watch: Watch = NOTHING,
    keep: int = 2,
    select: bool = False,
    best: bool = False,
    flat: bool = False,
    quiet: bool = False,
) -> Trained:
    """Trains a task, resuming from the last checkpoint in `directory`.

    Args:
      task: what is trained.
      directory: of the checkpoints and of `metrics.jsonl`.
      mapping: over the devices.
      preemption: checked after each chunk of steps.
      watch: what is logged along the way.
      keep: checkpoints to keep, besides the best.
      select: whether `watch.validate` returns a score.
      best: choose the state with the best score instead of the last.
      flat: store the parameters in one vector inside the program, see `training.flat`.
      quiet: print nothing.

    Raises:
      NonFiniteError: training diverged; the checkpoints before it stay.
      Preempted: SIGTERM came; the state is saved.
    """
    plan = task.plan
    state = mapping.replicate(task.fresh)
    with Checkpoints(directory / "checkpoints", keep=keep, best=select) as checkpoints:
        restored = checkpoints.restore_latest(mapping.collect(state))
        if restored is not None:
            state = mapping.replicate(restored)
        start = int(mapping.collect(state).step)
        if start < plan.total_steps:
            lead = cluster.is_lead()
            log = RunLog(
                directory if lead else None,
                start if start else None,
                method=task.name,
                total_steps=plan.total_steps,
                total_epochs=round(plan.total_steps / plan.steps_per_epoch),
                quiet=quiet or not lead,
            )
            loss, tx, decay, axis = task.loss, task.tx, task.ema_decay, mapping.axis_name
            if flat:
                run = make_flat_run(loss, tx, task.fresh.params, ema_decay=decay, axis_name=axis)
            else:
                run = make_run(make_step(loss, tx, ema_decay=decay, axis_name=axis))
            vote = cluster.Vote()
            with log, preemption.deferred() as asked:
                if start:
                    log.say(f"{task.name}: resuming at step {start} of {plan.total_steps}")
                state = fit(
                    mapping.compile(run),
                    state,
                    mapping.replicate(task.fixed),
                    plan,
                    start=start,
                    key=task.key,
                    data_seed=task.data_seed,
                    mapping=mapping,
                    hooks=_hooks(
                        plan, mapping, log, checkpoints, watch, select, lambda: vote(asked())
                    ),
                )
        checkpoints.wait()
        last = mapping.collect(state)
        check_finite(plan.total_steps, last)  # another version may have saved it
        if not best:
            return Trained(last, last, plan.total_steps)
        chosen = checkpoints.best_step()
        assert chosen is not None  # at least the last step was saved
        found = checkpoints.restore(chosen, last)
        check_finite(chosen, found)
        return Trained(last, found, chosen)


def _hooks(
    plan: Plan,
    mapping: Mapping,
    log: RunLog,
    checkpoints: Checkpoints,
    watch: Watch,
    select: bool,
    stop: Callable[[], bool],
) -> Hooks:
    def metrics(step: int, means: dict[str, float], speed: float) -> None:
        epoch = step / plan.steps_per_epoch
        log.metrics(step, epoch=epoch, images_per_second=speed, **watch.each(step), **means)

    def evaluate(step: int, state: TrainState) -> None:
        plain = mapping.collect(state)
        check_finite(step, plain)
        seen = watch.validate(plain)
        if seen:
            log.metrics(step, epoch=step / plan.steps_per_epoch, **seen)
        checkpoints.save(step, plain, {SCORE: seen[SCORE]} if select else None)

    def save(step: int, state: TrainState) -> None:
        plain = mapping.collect(state)
        check_finite(step, plain)
        checkpoints.save(step, plain, NO_SCORE if select else None)
        checkpoints.wait()

    return Hooks(metrics, evaluate, stop, save)
