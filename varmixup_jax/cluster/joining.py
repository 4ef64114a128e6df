"""Joining the processes of a run, and leaving: together, or alone for a reason of one's own."""

from __future__ import annotations

import atexit
import os
import re
import socket
import sys
import time

import jax
from jax.experimental import multihost_utils

from varmixup_jax import checks
from varmixup_jax.cluster.agreement import Vote, barrier, is_lead, meet
from varmixup_jax.cluster.launchers import Found, find
from varmixup_jax.cluster.rollcall import RollCall

STATUS = r"(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED|FAILED_PRECONDITION|DEADLINE_EXCEEDED): "
LEAD_STAYS_S = 0.5  # where all end for the same reason, the others should not miss the lead


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    mode: str = "auto",
    timeout_s: int = 300,
    heartbeat_s: int = 60,
) -> int:
    """Joins the processes of a run, before anything else asks JAX for a device.

    Without the three, what started the processes says it, see `launchers.find`. One process that
    nothing says has companions is left as it is. SIGTERM is left to Python (JAX's preemption service
    would take it over): see `Vote`.

    Args:
      coordinator: `host:port` of process 0, a free port there; all three or none.
      num_processes: how many, >= 1.
      process_id: which this one is, in [0, num_processes).
      mode: "auto", "off" (a single process, whatever started it) or one of `launchers.MODES`, which
        must then be found.
      timeout_s: seconds to wait for the others.
      heartbeat_s: seconds without an answer after which a process counts as lost; also how long a
        process that has ended waits for the others to end, so let the lead write its last file
        before a `barrier`.

    Returns:
      The number of processes.

    Where the others do not come in time, JAX aborts the process (`DEADLINE_EXCEEDED ...
    RegisterTask`, exit code 134).

    Raises:
      ValueError: the three are incomplete or out of range, or `mode` is not found.
      OSError: the coordinator cannot be started, most likely because the port is taken.
    """
    checks.whole(1, timeout_s=timeout_s, heartbeat_s=heartbeat_s)
    if jax.distributed.is_initialized():
        return jax.process_count()
    found = find(os.environ, coordinator, num_processes, process_id, mode=mode)
    if found is None:
        return 1
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Programs that run side by side could send their collectives in different orders.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    jax.config.update("jax_enable_preemption_service", False)
    _join(found, timeout_s, heartbeat_s)
    if jax.process_count() > 1:
        # Gloo waits 30 s for all to open a connection: open them while all are here.
        barrier("initialized", timeout_s)
        multihost_utils.sync_global_devices("initialized")
        Vote()(False)
        _watch_over(heartbeat_s, found.coordinator)
    return jax.process_count()


def broke_off(error: BaseException) -> bool:
    """Whether the error is one of JAX's runtime, e.g. of a collective that a lost process broke off.

    Some of its calls raise a ValueError with the status in front.

    >>> broke_off(ValueError("UNKNOWN: Gloo AllGather failed")), broke_off(ValueError("epochs = 0"))
    (True, False)
    """
    return isinstance(error, jax.errors.JaxRuntimeError) or bool(re.match(STATUS, str(error)))


def settle() -> None:
    """Where the runtime failed, finds out whether that was because another process is lost.

    Returns if all are there, within 2 `heartbeat_s`; else this process ends with a line that names
    the lost one. Need not be called by all processes.
    """
    if _PRESENT:
        _PRESENT[0].settle()


def leave(code: int) -> int:
    """Ends this process at once with `code` where there are others; else returns it.

    A process that ends in the ordinary way waits for the others, which may be waiting for it. Call
    this where a process ends for a reason of its own (a refusal, a signal): the others then end
    within the bounds that `initialize` set.
    """
    if jax.distributed.is_initialized() and jax.process_count() > 1:
        for roll_call in _PRESENT:
            roll_call.close()
        sys.stdout.flush()
        sys.stderr.flush()
        if is_lead():
            time.sleep(LEAD_STAYS_S)
        os._exit(code)
    return code


_PRESENT: list[RollCall] = []  # the one of this process, as JAX's runtime is one


def _watch_over(within_s: float, coordinator: str | None) -> None:
    """Starts the roll call, and sees to it that it ends with JAX's runtime."""
    roll_call = RollCall(
        meet,
        lead=is_lead(),
        processes=jax.process_count(),
        within_s=within_s,
        reachable=lambda: coordinator is None or _listens(coordinator),
    )
    _PRESENT.append(roll_call)

    def close() -> None:
        roll_call.close()
        jax.distributed.shutdown()  # waits for the others, who may go on, then calls off the answer
        roll_call.join()

    atexit.register(close)


def _listens(address: str) -> bool:
    """Whether anything takes connections at `host:port`."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


def _join(found: Found, timeout_s: int, heartbeat_s: int) -> None:
    try:
        jax.distributed.initialize(
            found.coordinator,
            found.num_processes,
            found.process_id,
            local_device_ids=found.local_device_ids,
            cluster_detection_method=found.method,
            initialization_timeout=timeout_s,
            heartbeat_timeout_seconds=2 * heartbeat_s,  # the roll call knows earlier
            shutdown_timeout_seconds=heartbeat_s,
        )
    except jax.errors.JaxRuntimeError as error:
        where = found.coordinator or "the address that JAX found"
        raise OSError(f"coordinator = {where}: cannot be used ({error})") from None
