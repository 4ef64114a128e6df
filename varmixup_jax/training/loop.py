"""The training loop: chunks of steps, a check for non-finite losses, and callbacks. No files here."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from signal import SIGTERM
from typing import NamedTuple

import jax
import numpy as np

from varmixup_jax import checks
from varmixup_jax.training.parallel import Mapping
from varmixup_jax.training.step import Metrics, Run
from varmixup_jax.types import Key, PyTree, TrainState

WINDOW_SECONDS = 1.0


class NonFiniteError(RuntimeError):
    """The loss or the gradient stopped being finite.

    Attributes:
      step: the first step (counted from 1) whose loss or gradient norm is NaN or infinite.
      leaf: the first parameter whose gradient is not finite at that step, "" for none.
    """

    def __init__(self, step: int, what: str, value: float, leaf: str = ""):
        where = f", first in the gradient of {leaf}" if leaf else ""
        super().__init__(f"step {step}: {what} = {value}{where}; training stopped")
        self.step, self.leaf = step, leaf


class Preempted(BaseException):
    """The run was asked to stop, and did so after saving its state.

    Like `KeyboardInterrupt`, it may be raised at any line, and no `except Exception` swallows it.

    Attributes:
      step: how many steps were taken; 0 if the run was not training.
      signal: its number, SIGTERM or SIGINT.
    """

    def __init__(self, step: int = 0, signal: int = SIGTERM):
        at = f" and saved step {step}" if step else ""
        super().__init__(f"asked to stop{at}; the same command resumes it")
        self.step, self.signal = step, signal


class Plan(NamedTuple):
    """Order of the data, and when to validate and stop, in steps.

    Attributes:
      examples: size of the training split.
      batch_size: examples a step, over all devices.
      total_steps: length of the run.
      steps_per_call: the maximum number of steps in one program.
      eval_every: steps between evaluations (and checkpoints); the last step always has one.
    """

    examples: int
    batch_size: int
    total_steps: int
    steps_per_call: int
    eval_every: int

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training split; the examples left over differ from epoch to epoch."""
        return self.examples // self.batch_size

    def chunk_end(self, step: int) -> int:
        """Where the chunk that starts at `step` ends: never beyond an evaluation or the end."""
        next_eval = (step // self.eval_every + 1) * self.eval_every
        return min(step + self.steps_per_call, next_eval, self.total_steps)


def make_plan(
    *,
    examples: int,
    batch_size: int,
    epochs: float,
    steps_per_call: int,
    eval_epochs: float,
) -> Plan:
    """A `Plan` from durations in epochs, the one place where they become steps.

    Raises:
      ValueError: a value out of range, or a batch larger than the training split.
    """
    checks.whole(1, batch_size=batch_size, steps_per_call=steps_per_call)
    checks.positive(epochs=epochs, eval_epochs=eval_epochs)
    if batch_size > examples:
        raise ValueError(f"batch_size = {batch_size}: must be <= {examples}, the training split")
    per_epoch = examples // batch_size
    total = max(1, round(epochs * per_epoch))
    eval_every = min(total, max(1, round(eval_epochs * per_epoch)))
    return Plan(examples, batch_size, total, steps_per_call, eval_every)


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, examples: int) -> np.ndarray:
    # The raw stream is the same in every version of NumPy, and the device does not wait for it.
    generator = np.random.Philox(key=np.array([seed % 2**64, epoch], np.uint64))
    return np.argsort(generator.random_raw(examples), kind="stable").astype(np.int32)


def data_order(plan: Plan, seed: int, start: int, end: int) -> np.ndarray:
    """Which examples the steps `start .. end - 1` see: int32 `[end - start, batch_size]`.

    A function of the step number and the seed alone: a new uniform permutation each epoch.
    """
    rows = []
    for step in range(start, end):
        epoch, position = divmod(step, plan.steps_per_epoch)
        order = _permutation(seed, epoch, plan.examples)
        rows.append(order[position * plan.batch_size : (position + 1) * plan.batch_size])
    return np.stack(rows)


class Hooks(NamedTuple):
    """What a run does besides stepping.

    Attributes:
      metrics: `(step, means, images_per_second)` after each chunk: means of the chunk's metrics, and
        the speed since the previous results arrived, or since earlier ones if that was less than a
        second ago. The first chunk includes the time to compile; none includes evaluations.
      evaluate: `(step, state)` every `eval_every` steps and at the end, once the chunk was found
        finite: validates, saves and does whatever else needs the state.
      stop: called after each chunk; if it returns True, the state is saved and the run ends.
      save: `(step, state)` for that case.
    """

    metrics: Callable[[int, dict[str, float], float], None]
    evaluate: Callable[[int, TrainState], None]
    stop: Callable[[], bool] = lambda: False
    save: Callable[[int, TrainState], None] = lambda step, state: None


def fit(
    run: Run,
    state: TrainState,
    fixed: PyTree,
    plan: Plan,
    *,
    start: int,
    key: Key,
    data_seed: int,
    mapping: Mapping,
    hooks: Hooks,
    clock: Callable[[], float] = time.monotonic,
) -> TrainState:
    """Trains from step `start` to the end of the plan.

    While one chunk computes, the metrics of the previous one are read, so the device does not wait
    for the host. A thread records when results arrive: by the time the loop reads them the next
    chunk may have ended too, as the call that starts a chunk returns late on some devices.

    Args:
      run: a mapped `make_run` program.
      state: placed by `mapping.replicate`; donated.
      fixed: placed likewise.
      plan: number of steps, steps per call and validation interval.
      start: steps already taken (`state.step`).
      key: of the run; each step folds in its number.
      data_seed: of the order of the data.
      mapping: places each chunk's order.
      hooks: see `Hooks`.
      clock: seconds.

    Returns:
      The state after `plan.total_steps`.

    Raises:
      NonFiniteError: a loss or gradient norm is not finite; no later state was saved.
      Preempted: `hooks.stop` returned True; the state was passed to `hooks.save`.
    """
    names = [jax.tree_util.keystr(p) for p, _ in jax.tree.leaves_with_path(state.params)]
    pending = None
    step, speed = start, _Speed(clock())

    def report(begin: int, end: int, seen: Metrics, arrival: Future[float]) -> None:
        images_per_second = speed.at(arrival.result(), (end - begin) * plan.batch_size)
        if begin == start:
            speed.compiled()
        hooks.metrics(end, _means(names, begin, end, seen), images_per_second)

    with ThreadPoolExecutor(max_workers=1) as watching:
        while step < plan.total_steps:
            end = plan.chunk_end(step)
            order = np.zeros((plan.steps_per_call, plan.batch_size), np.int32)
            order[: end - step] = data_order(plan, data_seed, step, end)
            count = np.int32(end - step)
            state, seen = run(state, fixed, mapping.shard_order(order), count, key)
            arrival = watching.submit(_arrival, seen, clock)
            if pending is not None:
                report(*pending)
            pending, step = (step, end, seen, arrival), end
            if end % plan.eval_every == 0 or end == plan.total_steps:
                report(*pending)
                pending = None
                hooks.evaluate(end, state)
                speed = _Speed(clock())
            if hooks.stop() and end < plan.total_steps:
                if pending is not None:
                    report(*pending)
                hooks.save(end, state)
                raise Preempted(end)
    return state


def check_finite(step: int, state: TrainState) -> None:
    """Checks a state before it is evaluated or saved: an update can spoil it after a finite loss.

    Raises:
      NonFiniteError: a parameter, a running statistic or an average is not finite.
    """
    for part in ("params", "stats", "ema"):
        for path, leaf in jax.tree.leaves_with_path(getattr(state, part)):
            values = np.asarray(leaf)
            if not np.isfinite(values).all():
                name = f"{part}{jax.tree_util.keystr(path)}"
                raise NonFiniteError(step, name, float(values[~np.isfinite(values)][0]))


class _Speed:
    """Images per second, from the times at which results arrive.

    Averaged over at least a second: results that are noticed late come together with the next ones.
    """

    def __init__(self, now: float):
        self._seen = [(now, 0)]  # times, and images by then

    def at(self, now: float, images: int) -> float:
        """The speed when the results of `images` more images arrive."""
        total = self._seen[-1][1] + images
        while len(self._seen) > 1 and now - self._seen[1][0] >= WINDOW_SECONDS:
            del self._seen[0]
        since, before = self._seen[0]
        self._seen.append((now, total))
        return (total - before) / max(now - since, 1e-9)

    def compiled(self) -> None:
        """Restarts the clock."""
        del self._seen[:-1]


def _arrival(seen: Metrics, clock: Callable[[], float]) -> float:
    jax.block_until_ready(seen)
    return clock()


def _means(names: list[str], start: int, end: int, seen: Metrics) -> dict[str, float]:
    """Means over the steps of a chunk, all of which must be finite."""
    values = {name: np.asarray(v)[: end - start] for name, v in seen.items()}
    leaves = values.pop("bad_leaf", None)
    for what in ("loss", "grad_norm"):
        bad = np.flatnonzero(~np.isfinite(values[what]))
        if bad.size:
            first = int(bad[0])
            leaf = -1 if leaves is None else int(leaves[first])
            name = names[leaf] if leaf >= 0 else ""
            raise NonFiniteError(start + first + 1, what, float(values[what][first]), name)
    return {name: float(v.mean()) for name, v in values.items()}
