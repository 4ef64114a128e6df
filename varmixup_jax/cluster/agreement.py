"""What the processes of a run tell each other. With a single process all of it is free."""

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
LINE = 500  # bytes of a refusal
KINDS = {"ValueError": ValueError, "OSError": OSError}


def process_count() -> int:
    """How many processes this run has."""
    return jax.process_count()


def is_lead() -> bool:
    """Whether this is process 0, the one that writes files."""
    return jax.process_index() == 0


def barrier(name: str, timeout_s: float = DAY) -> None:
    """Returns when every process has come here. No device takes part, so the wait may be long.

    Raises:
      JaxRuntimeError: someone did not come in time.
    """
    checks.positive(timeout_s=timeout_s)
    if jax.process_count() == 1:
        return
    from orbax.checkpoint import multihost  # slow to import, and a single process does not need it

    multihost.get_barrier_sync_fn()(key=name, timeout_ms=int(1000 * timeout_s))


def from_lead(value: bytes) -> bytes:
    """The lead's bytes, everywhere; the others' argument does not matter."""
    if jax.process_count() == 1:
        return value
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(value))))
    if size == 0:
        return b""
    mine = np.frombuffer(value, np.uint8) if is_lead() else np.zeros(size, np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(mine)).tobytes()


def on_lead(action: Callable[[], Any]) -> Any:
    """Lets the lead act, and tells all what came of it: what it decides, the others follow.

    Args:
      action: called by the lead alone (so it may not call on the others); returns a
        JSON-serialisable value.

    Returns:
      What it returned, everywhere, as JSON keeps it.

    Raises:
      ValueError, OSError, RuntimeError: on all processes, what `action` raised (on the others an
        error of that kind and text), so that all end in the same way.

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
    barrier("on_lead")  # the lead may take long, and a wait on the devices has its limits
    outcome = json.loads(from_lead(json.dumps(outcome).encode()))
    if "value" in outcome:
        return outcome["value"]
    raise error or KINDS.get(outcome["kind"], RuntimeError)(outcome["text"])


def gathered(tree: PyTree) -> PyTree:
    """Numpy arrays `[...]`, of equal shapes on all processes -> `[processes, ...]`, everywhere."""
    return multihost_utils.process_allgather(tree)


def check_same_everywhere(fields: Mapping[str, Any]) -> None:
    """Refuses a run whose processes were not given the same values.

    Args:
      fields: dotted names and values that JSON has, e.g. of a flat configuration.

    Raises:
      ValueError: names the first field that differs, on every process.
    """
    if jax.process_count() == 1:
        return
    # What is missing on one process must show too: a field has a text, or none.
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
    """Whether any process says yes, told to all of them at the same call.

    For SIGTERM, which need not reach all processes, and never at the same step: every process calls
    its vote after each chunk of steps and stops where it returns True. With several processes it
    returns what was said at the call *before*, so nobody waits for the devices.

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
