"""Communication between the processes of a run. With a single process it costs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from varmixup_jax import checks
from varmixup_jax.types import PyTree

DAY = 86400.0
LINE = 500  # bytes of an error message
KINDS = {"ValueError": ValueError, "OSError": OSError}


def process_count() -> int:
    """How many processes this run has."""
    return jax.process_count()


def is_lead() -> bool:
    """Whether this is process 0, the one that writes files."""
    return jax.process_index() == 0


def barrier(name: str, timeout_s: float = DAY) -> None:
    """Returns when every process has called it. No device is involved, so the wait may be long.

    Raises:
      JaxRuntimeError: a process did not arrive in time.
    """
    checks.positive(timeout_s=timeout_s)
    if jax.process_count() == 1:
        return
    from orbax.checkpoint import multihost  # slow to import, and not needed by a single process

    multihost.get_barrier_sync_fn()(key=name, timeout_ms=int(1000 * timeout_s))


def from_lead(value: bytes) -> bytes:
    """The leader's bytes, on all processes; the others' argument does not matter."""
    if jax.process_count() == 1:
        return value
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(value))))
    if size == 0:
        return b""
    mine = np.frombuffer(value, np.uint8) if is_lead() else np.zeros(size, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(mine)).tobytes()


def on_lead(action: Callable[[], Any]) -> Any:
    """Runs an action on the leader and broadcasts its result or error to all processes.

    Args:
      action: called only by the leader (so it must not communicate with the others); returns a
        JSON-serialisable value.

    Returns:
      What it returned, on all processes, as JSON keeps it.

    Raises:
      ValueError, OSError, RuntimeError: on all processes, what `action` raised (on the others an
        error of that type and text), so that all end in the same way.

    >>> on_lead(lambda: 42)
    42
    """
    if jax.process_count() == 1:
        return action()
    outcome: dict[str, Any] = {}
    error: Exception | None = None
    if is_lead():
        try:
            outcome = {"value": action()}
        except Exception as raised:
            error = raised
            kind = next((name for name, k in KINDS.items() if isinstance(raised, k)), "")
            outcome = {"kind": kind, "text": str(raised) or type(raised).__name__}
    barrier("on_lead")  # the leader may take long, and waiting on the devices would time out
    outcome = json.loads(from_lead(json.dumps(outcome).encode()))
    if "value" in outcome:
        return outcome["value"]
    raise error or KINDS.get(outcome["kind"], RuntimeError)(outcome["text"])


def gathered(tree: PyTree) -> PyTree:
    """NumPy arrays `[...]`, of equal shapes on all processes -> `[processes, ...]` on all of them."""
    return multihost_utils.process_allgather(tree)


def check_same_everywhere(fields: Mapping[str, Any]) -> None:
    """Refuses a run whose processes were not given the same values.

    Args:
      fields: dotted names and JSON values, e.g. of a flat configuration.

    Raises:
      ValueError: names the first field that differs, on every process.
    """
    if jax.process_count() == 1:
        return
    # As texts, so that a field missing on one process is found too.
    mine = {name: json.dumps(value, sort_keys=True) for name, value in fields.items()}
    leads = json.loads(from_lead(json.dumps(mine).encode()))
    text = ""
    for name in sorted(mine.keys() | leads.keys(), reverse=True):
        if mine.get(name) != leads.get(name):
            here = f"process {jax.process_index()}: {mine.get(name)}"
            text = f"{name} = {leads.get(name)}: must be the same on all processes ({here})"
    for line in gathered(np.frombuffer(text.encode()[:LINE].ljust(LINE), np.uint8)):
        if said := line.tobytes().decode(errors="replace").rstrip():
            raise ValueError(said)


class Vote:
    """Whether any process says yes; all of them get the answer at the same call.

    For SIGTERM, which may not reach all processes, and never at the same step: every process calls
    its vote after each chunk of steps and stops if it returns True. With several processes it returns
    the result of the *previous* call, so that none waits for the devices.

    >>> vote = Vote()
    >>> vote(False), vote(True)
    (False, True)
    """

    def __init__(self) -> None:
        devices = jax.devices()
        mesh = jax.make_mesh(
            (len(devices),), ("all",), axis_types=(AxisType.Auto,), devices=devices
        )
        self._spread = NamedSharding(mesh, PartitionSpec("all"))
        self._any = jax.jit(jnp.any, out_shardings=NamedSharding(mesh, PartitionSpec()))
        self._pending: jax.Array | None = None

    def __call__(self, yes: bool) -> bool:
        if jax.process_count() == 1:
            return yes
        mine = np.full(jax.local_device_count(), yes)
        votes = jax.make_array_from_process_local_data(self._spread, mine, (jax.device_count(),))
        before, self._pending = self._pending, self._any(votes)
        return before is not None and bool(before.addressable_data(0))
