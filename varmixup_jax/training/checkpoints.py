"""Checkpoints by Orbax: the last N, and the best on the validation split. The only user of Orbax.

Of several processes the lead alone reads and writes: a replicated state is whole there. What it read
goes to the others as bytes, so all have the same state of the same step, whatever their disks hold.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from varmixup_jax import checks, cluster
from varmixup_jax.training.parallel import placed
from varmixup_jax.types import PyTree

SCORE = "val_accuracy"


class Checkpoints:
    """The checkpoints of one run, in one directory.

    Saving is asynchronous and atomic: a checkpoint appears under its step number when all of it is
    written, so a run killed at any moment leaves only whole ones behind. Each has the sha256 of its
    arrays beside it, so that changed bytes are found when it is read. All processes call every
    method but `close`, in the same order.

    Args:
      directory: made if absent, by the lead.
      keep: how many of the latest to keep, >= 1. With `best`, also the one with the highest
        `val_accuracy` of those saved so far.
      best: whether saves carry that score.

    Raises:
      OSError: the directory cannot be made.
    """

    def __init__(self, directory: str | Path, *, keep: int = 2, best: bool = True):
        checks.whole(1, keep=keep)
        self.directory = Path(directory).absolute()
        kept = [policies.LatestN(keep)]
        if best:
            kept.append(policies.BestN(get_metric_fn=_score, n=1))
        self._manager: ocp.CheckpointManager | None = None
        cluster.on_lead(lambda: self._open(kept, best))

    def save(self, step: int, state: PyTree, metrics: dict[str, float] | None = None) -> None:
        """Starts saving `state` (arrays on this process or its host) as `step`, unless it exists."""
        if self._manager is None or step in self._manager.all_steps():
            return
        # The next call donates the state's buffers, which a zero-copy write would still be reading.
        # Orbax takes an array on the devices of one process for a mistake if there are others.
        copy = jnp.copy if cluster.process_count() == 1 else np.array
        snapshot = jax.tree.map(copy, state)
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(snapshot),
            digest=ocp.args.JsonSave({"sha256": digest(snapshot)}),
        )
        self._manager.save(step, args=items, metrics=metrics)

    def restore_latest(self, like: PyTree) -> PyTree | None:
        """The newest readable state, or None if there is none.

        A checkpoint that cannot be read is passed over with a warning that names it and the one
        used instead.

        Args:
          like: a tree of arrays with the structure, shapes, dtypes and shardings wanted.
        """
        read: list[PyTree] = []
        step = cluster.on_lead(lambda: self._read_latest(like, read))
        return None if step is None else _shared(read, like)

    def restore(self, step: int, like: PyTree) -> PyTree:
        """The state saved as `step`, laid out as `like`."""
        read: list[PyTree] = []
        cluster.on_lead(lambda: read.append(self._read(step, like)))
        return _shared(read, like)

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, ascending."""
        return cluster.on_lead(lambda: sorted(self._opened.all_steps()))

    def best_step(self) -> int | None:
        """The step with the highest validation accuracy, or None without any."""
        return cluster.on_lead(lambda: self._opened.best_step())

    def metrics(self, step: int) -> dict[str, Any]:
        """What was passed to `save` with that step."""
        return cluster.on_lead(lambda: dict(self._opened.metrics(step) or {}))

    def wait(self) -> None:
        """Returns when everything saved so far is on disk; raises what a save raised."""
        cluster.on_lead(lambda: self._opened.wait_until_finished())

    def close(self) -> None:
        """Waits and releases the manager's threads."""
        if self._manager is not None:
            self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _opened(self) -> ocp.CheckpointManager:
        assert self._manager is not None  # the lead has opened it, and only the lead asks
        return self._manager

    def _open(self, kept: list[Any], best: bool) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
        several = cluster.process_count() > 1
        self._manager = ocp.CheckpointManager(
            self.directory,
            item_names=("state", "digest"),
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(kept),
                best_fn=_score if best else None,
                cleanup_tmp_directories=True,
                create=False,
                multiprocessing_options=(
                    alone if several else ocp.options.MultiprocessingOptions()
                ),
            ),
        )

    def _read_latest(self, like: PyTree, read: list[PyTree]) -> int | None:
        broken = []
        for step in sorted(self._opened.all_steps(), reverse=True):
            try:
                read.append(self._read(step, like))
            except Exception as error:  # Orbax raises many kinds for a damaged file
                broken.append((step, f"{type(error).__name__}: {error}".splitlines()[0]))
                continue
            for bad, reason in broken:
                text = f"checkpoint {self.directory / str(bad)} cannot be read ({reason})"
                warnings.warn(f"{text}; using {self.directory / str(step)}", stacklevel=4)
                self._opened.delete(bad)
            return step
        if broken:
            step, reason = broken[0]
            raise ValueError(f"no readable checkpoint in {self.directory}: step {step}: {reason}")
        return None

    def _read(self, step: int, like: PyTree) -> PyTree:
        wanted = _on_device if cluster.process_count() == 1 else _on_host
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(jax.tree.map(wanted, like)),
            digest=ocp.args.JsonRestore(),
        )
        restored = self._opened.restore(step, args=items)
        if digest(restored.state) != restored.digest["sha256"]:
            raise ValueError("its bytes are not those that were saved")
        return restored.state


def digest(tree: PyTree) -> str:
    """sha256 over the names, dtypes, shapes and bytes of a tree's leaves: equal bits, equal digest."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _score(metrics: dict[str, float]) -> float:
    return metrics[SCORE]


def _on_device(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _on_host(leaf: jax.Array) -> np.ndarray:
    return np.empty(leaf.shape, leaf.dtype)


def _shared(read: list[PyTree], like: PyTree) -> PyTree:
    """What the lead has read (the others' list is empty), on every process, laid out as `like`."""
    if cluster.process_count() == 1:
        return read[0]
    leaves, structure = jax.tree.flatten(like)
    # Orbax may give back a scalar of numpy's own: `asarray` has the shape and dtype in either case.
    parts = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(read[0])] if read else []
    whole, begin, out = cluster.from_lead(b"".join(parts)), 0, []
    for leaf in leaves:
        size = leaf.size * leaf.dtype.itemsize
        host = np.frombuffer(whole[begin : begin + size], leaf.dtype).reshape(leaf.shape)
        out.append(placed(host, leaf.sharding))
        begin += size
    return jax.tree.unflatten(structure, out)
