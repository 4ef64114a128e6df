"""Checkpoints by Orbax: the last N, and the best on the validation split. The only user of Orbax."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from varmixup_jax import checks
from varmixup_jax.types import PyTree

SCORE = "val_accuracy"


class Checkpoints:
    """The checkpoints of one run, in one directory.

    Saving is asynchronous and atomic: a checkpoint appears under its step number when all of it is
    written, so a run killed at any moment leaves only whole ones behind.

    Args:
      directory: made if absent.
      keep: how many of the latest to keep, >= 1. With `best`, also the one with the highest
        `val_accuracy` of those saved so far.
      best: whether saves carry that score.
    """

    def __init__(self, directory: str | Path, *, keep: int = 2, best: bool = True):
        checks.whole(1, keep=keep)
        self.directory = Path(directory).absolute()
        kept = [policies.LatestN(keep)]
        if best:
            kept.append(policies.BestN(get_metric_fn=_score, n=1))
        self._manager = ocp.CheckpointManager(
            self.directory,
            item_names=("state",),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(kept),
                best_fn=_score if best else None,
                cleanup_tmp_directories=True,
            ),
        )

    def save(self, step: int, state: PyTree, metrics: dict[str, float] | None = None) -> None:
        """Starts saving `state` (arrays on device or host) as `step`; does nothing if it exists."""
        if step in self._manager.all_steps():
            return
        # The next call donates the state's buffers, which a zero-copy write would still be reading.
        snapshot = jax.tree.map(jnp.copy, state)
        self._manager.save(
            step, args=ocp.args.Composite(state=ocp.args.StandardSave(snapshot)), metrics=metrics
        )

    def restore_latest(self, like: PyTree) -> PyTree | None:
        """The newest readable state, or None if there is none.

        A checkpoint that cannot be read is passed over with a warning that names it and the one
        used instead.

        Args:
          like: a tree of arrays with the structure, shapes, dtypes and shardings wanted.
        """
        broken = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                state = self.restore(step, like)
            except Exception as error:  # Orbax raises many kinds for a damaged file
                broken.append((step, f"{type(error).__name__}: {error}".splitlines()[0]))
                continue
            for bad, reason in broken:
                text = f"checkpoint {self.directory / str(bad)} cannot be read ({reason})"
                warnings.warn(f"{text}; using {self.directory / str(step)}", stacklevel=2)
                self._manager.delete(bad)
            return state
        if broken:
            step, reason = broken[0]
            raise ValueError(f"no readable checkpoint in {self.directory}: step {step}: {reason}")
        return None

    def restore(self, step: int, like: PyTree) -> PyTree:
        """The state saved as `step`, laid out as `like`."""
        abstract = jax.tree.map(_abstract, like)
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        )
        return restored.state

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, ascending."""
        return sorted(self._manager.all_steps())

    def best_step(self) -> int | None:
        """The step with the highest validation accuracy, or None without any."""
        return self._manager.best_step()

    def metrics(self, step: int) -> dict[str, Any]:
        """What was passed to `save` with that step."""
        return dict(self._manager.metrics(step) or {})

    def wait(self) -> None:
        """Returns when everything saved so far is on disk; raises what a save raised."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and releases the manager's threads."""
        self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _score(metrics: dict[str, float]) -> float:
    return metrics[SCORE]


def _abstract(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
