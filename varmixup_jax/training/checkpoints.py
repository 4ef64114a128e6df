"""Checkpoints by Orbax: the last N, and the best on the validation split. The only user of Orbax.

With several processes only the leader reads and writes: it has the whole replicated state. It sends
what it reads to the others as bytes, so all have the same state, whatever their disks hold.
"""

from __future__ import annotations

import hashlib
import itertools
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from varmixup_jax import checks, cluster
from varmixup_jax.atomic_files import loads
from varmixup_jax.training.damage import Damaged, read_whole
from varmixup_jax.training.parallel import placed
from varmixup_jax.types import PyTree

SCORE = "val_accuracy"


class Checkpoints:
    """The checkpoints of one run, in one directory.

    Saving runs in a thread and is atomic: a checkpoint appears under its step number once it is
    fully written, so a run killed at any moment leaves only complete ones. Each holds the sha256 of
    its arrays, so that changed bytes are found on reading. An error of a save is raised by the next
    call of any method. All processes call every method except `close`, in the same order.

    A damaged checkpoint is never deleted, and one that temporarily cannot be read (the disk or the
    device fails) does not count as damaged, see `damage.read_whole`.

    Args:
      directory: created by the leader if missing.
      keep: how many of the latest to keep, >= 1. With `best`, also the one with the highest
        `val_accuracy` of those saved so far.
      best: whether saves carry that score.

    Raises:
      OSError: the directory cannot be made or read.
      ValueError: no checkpoint in it has a readable score.
    """

    def __init__(self, directory: str | Path, *, keep: int = 2, best: bool = True):
        checks.whole(1, keep=keep)
        self.directory = Path(directory).absolute()
        kept = [policies.LatestN(keep)]
        if best:
            kept.append(policies.BestN(get_metric_fn=_score, n=1))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._saving: Future[None] | None = None
        self._manager: ocp.CheckpointManager | None = None
        cluster.on_lead(lambda: self._open(kept, best))

    def save(self, step: int, state: PyTree, metrics: dict[str, float] | None = None) -> None:
        """Starts saving `state` (arrays on this process or its host) as `step`, unless it exists.

        Returns once the previous save is done and the state is copied.
        """
        if not cluster.is_lead() or step in self._idle().all_steps():
            return
        # The next step donates the state's buffers, which a zero-copy write would still be reading.
        # With several processes Orbax refuses an array that is only on the devices of one of them.
        copy = jnp.copy if cluster.process_count() == 1 else np.array
        snapshot = jax.tree.map(copy, state)
        self._saving = self._thread.submit(self._write, step, snapshot, metrics)

    def restore_latest(self, like: PyTree) -> PyTree | None:
        """The newest readable state, or None if there is none.

        A damaged one is set aside as `<step>.damaged` if an older one can be read, with a warning
        that names both.

        Args:
          like: a tree of arrays with the structure, shapes, dtypes and shardings wanted.

        Raises:
          ValueError: there are checkpoints, all of them damaged or of another structure.
          OSError, MemoryError, JaxRuntimeError: one temporarily cannot be read; none is changed.
        """
        read: list[PyTree] = []
        step = cluster.on_lead(lambda: self._read_latest(like, read))
        return None if step is None else _shared(read, like)

    def restore(self, step: int, like: PyTree) -> PyTree:
        """The state saved as `step`, laid out as `like`; raises as `restore_latest`."""
        read: list[PyTree] = []
        cluster.on_lead(lambda: read.append(self._read(step, like)))
        return _shared(read, like)

    def steps(self) -> list[int]:
        """Steps of the existing checkpoints, ascending."""
        return cluster.on_lead(lambda: sorted(self._idle().all_steps()))

    def best_step(self) -> int | None:
        """The step with the highest validation accuracy, or None."""
        return cluster.on_lead(lambda: self._idle().best_step())

    def metrics(self, step: int) -> dict[str, Any]:
        """What was passed to `save` with that step."""
        return cluster.on_lead(lambda: dict(self._idle().metrics(step) or {}))

    def wait(self) -> None:
        """Returns when everything saved so far is on disk."""
        cluster.on_lead(lambda: bool(self._idle()))

    def close(self) -> None:
        """Waits and releases the threads."""
        if self._manager is not None:
            try:
                self._idle()
            finally:
                self._thread.shutdown()
                self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _idle(self) -> ocp.CheckpointManager:
        """The manager, once the current save is done: only one thread at a time may use it."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()
        assert self._manager is not None  # opened by the leader, the only one to call this
        return self._manager

    def _write(self, step: int, snapshot: PyTree, metrics: dict[str, float] | None) -> None:
        assert self._manager is not None
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(snapshot),
            digest=ocp.args.JsonSave({"sha256": digest(snapshot)}),
        )
        self._manager.save(step, args=items, metrics=metrics)
        self._manager.wait_until_finished()

    def _open(self, kept: list[Any], best: bool) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if best:
            self._check_scores()
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

    def _check_scores(self) -> None:
        """Sets aside those with a damaged score: Orbax reads all at once, and would refuse them all."""
        steps = [int(path.name) for path in self.directory.iterdir() if path.name.isdecimal()]
        whole, broken = [], []
        for step in sorted(steps, reverse=True):
            file = self.directory / str(step) / "metrics" / "metrics"
            if file.exists():
                try:
                    read_whole(partial(_scored, file), file)
                    whole.append(step)
                except Damaged as error:
                    broken.append((step, error))
        self._set_aside(broken, next(iter(whole), None))

    def _read_latest(self, like: PyTree, read: list[PyTree]) -> int | None:
        broken: list[tuple[int, Damaged]] = []
        found = None
        for step in sorted(self._idle().all_steps(), reverse=True):
            try:
                read.append(self._read(step, like))
                found = step
                break
            except Damaged as error:
                broken.append((step, error))
        self._set_aside(broken, found)
        return found

    def _set_aside(self, broken: list[tuple[int, Damaged]], used: int | None) -> None:
        """Renames damaged checkpoints, if there is another to use, so that Orbax ignores them."""
        if broken and used is None:
            step, error = broken[0]
            raise ValueError(f"no readable checkpoint in {self.directory}: step {step}: {error}")
        for step, error in broken:
            names = (f"{step}.damaged{number or ''}" for number in itertools.count())
            aside = next(self.directory / n for n in names if not (self.directory / n).exists())
            (self.directory / str(step)).rename(aside)
            text = f"{error}, is kept as {aside.name}; using {self.directory / str(used)}"
            warnings.warn(f"checkpoint {text}", stacklevel=4)
        if broken and self._manager is not None:
            self._manager.reload()

    def _read(self, step: int, like: PyTree) -> PyTree:
        wanted = _on_device if cluster.process_count() == 1 else _on_host
        manager = self._idle()

        def read() -> PyTree:
            items = ocp.args.Composite(
                state=ocp.args.StandardRestore(jax.tree.map(wanted, like)),
                digest=ocp.args.JsonRestore(),
            )
            restored = manager.restore(step, args=items)
            if digest(restored.state) != restored.digest["sha256"]:
                raise ValueError("its bytes are not those that were saved")
            return restored.state

        return read_whole(read, self.directory / str(step))


def digest(tree: PyTree) -> str:
    """sha256 over the names, dtypes, shapes and bytes of a tree's leaves."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _score(metrics: dict[str, float]) -> float:
    return metrics[SCORE]


def _scored(file: Path) -> float:
    return float(_score(loads(file.read_bytes())))


def _on_device(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


def _on_host(leaf: jax.Array) -> np.ndarray:
    return np.empty(leaf.shape, leaf.dtype)


def _shared(read: list[PyTree], like: PyTree) -> PyTree:
    """What the leader has read (other lists are empty), on every process, laid out as `like`."""
    if cluster.process_count() == 1:
        return read[0]
    leaves, structure = jax.tree.flatten(like)
    # Orbax may return a NumPy scalar: `asarray` gives shape and dtype in either case.
    parts = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(read[0])] if read else []
    whole, begin, out = cluster.from_lead(b"".join(parts)), 0, []
    for leaf in leaves:
        size = leaf.size * leaf.dtype.itemsize
        host = np.frombuffer(whole[begin : begin + size], leaf.dtype).reshape(leaf.shape)
        out.append(placed(host, leaf.sharding))
        begin += size
    return jax.tree.unflatten(structure, out)
