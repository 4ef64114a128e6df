"""Joining the processes of a run, and leaving: together, or one alone."""

from __future__ import annotations

import atexit
import itertools
import os
import re
import sys
import threading
import time
from collections.abc import Callable

import jax
from jax.experimental import multihost_utils

from varmixup_jax import checks
from varmixup_jax.cluster.agreement import Vote, barrier, is_lead
from varmixup_jax.cluster.launchers import Found, find

STATUS = r"(UNKNOWN|INTERNAL|UNAVAILABLE|ABORTED|CANCELLED|FAILED_PRECONDITION|DEADLINE_EXCEEDED): "
LOST = 5  # exit code
# Not longer: if the leader is gone, JAX notices too and aborts this process within a second.
GRACE_S = 0.05
WAITING_S = 10.0
LEAD_STAYS_S = 0.5  # if all end for the same reason, the others should not find the leader gone


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

    Without the first three arguments the environment is searched, see `launchers.find`. A process
    with no sign of others runs alone. SIGTERM is left to Python (JAX's preemption service would
    handle it): see `Vote`.

    Args:
      coordinator: `host:port` of process 0, a free port there; all three or none.
      num_processes: how many, >= 1.
      process_id: the index of this one, in [0, num_processes).
      mode: "auto", "off" (a single process, whatever started it) or one of `launchers.MODES`, which
        must then be found.
      timeout_s: seconds to wait for the others.
      heartbeat_s: seconds without an answer after which a process counts as lost; also how long a
        process that has ended waits for the others to end, so the leader should write its last file
        before a `barrier`.

    Returns:
      The number of processes.

    If the others do not join in time, JAX aborts the process (`DEADLINE_EXCEEDED ... RegisterTask`,
    exit code 134).

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
    # Programs that run concurrently could issue their collectives in different orders.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    jax.config.update("jax_enable_preemption_service", False)
    _join(found, timeout_s, heartbeat_s)
    if jax.process_count() > 1:
        # Gloo waits only 30 s for all to connect: connect while all are here.
        barrier("initialized", timeout_s)
        multihost_utils.sync_global_devices("initialized")
        Vote()(False)
        _keep_watch(heartbeat_s)
    return jax.process_count()


def broke_off(error: BaseException) -> bool:
    """Whether the error is from JAX's runtime, e.g. from a collective that lost a process.

    Some of its calls raise a ValueError that begins with the status.

    >>> broke_off(ValueError("UNKNOWN: Gloo AllGather failed")), broke_off(ValueError("epochs = 0"))
    (True, False)
    """
    return isinstance(error, jax.errors.JaxRuntimeError) or bool(re.match(STATUS, str(error)))


def settle() -> None:
    """After a runtime error: does not return if its cause was the loss of another process."""
    if jax.process_count() > 1:
        time.sleep(1.5 * _within_s)


def leave(code: int) -> int:
    """Ends this process at once with `code` if there are others; else returns it.

    A process that ends normally waits for the others, which may be waiting for it. Call this if only
    this process ends (an error, a signal): the others then end within the time that `initialize` set.
    """
    if jax.distributed.is_initialized() and jax.process_count() > 1:
        _leaving.set()
        sys.stdout.flush()
        sys.stderr.flush()
        if is_lead():
            time.sleep(LEAD_STAYS_S)
        os._exit(code)
    return code


_leaving = threading.Event()  # of this process, which has one runtime
_within_s = 0.0


def _watch(meet: Callable[[str, float], None], within_s: float) -> None:
    """Ends this process if others no longer answer; each answers in a thread like this one.

    The thread answers whatever the main thread waits for: a process that hangs in a collective
    because another is lost does not itself count as lost.
    """
    for number in itertools.count():
        # The wait itself may never end, if the leader hangs and its connections stay open.
        watchdog = threading.Timer(within_s, _end)
        watchdog.daemon = True
        watchdog.start()
        try:
            meet(f"present {number}", 2 * within_s)
        except Exception:  # the kind depends on JAX's version
            return _end()
        finally:
            watchdog.cancel()
        time.sleep(within_s / 8)


def _end() -> None:
    # Waits first: this process may be ending for its own reason, as the other may have.
    if not _leaving.wait(GRACE_S):
        text = "error: another process of this run was lost; the same command resumes"
        print(text, file=sys.stderr, flush=True)
        os._exit(LOST)


def _keep_watch(within_s: float) -> None:
    """Starts the watch, and makes sure that it ends with JAX's runtime."""
    global _within_s
    _within_s = within_s
    thread = threading.Thread(target=_watch, args=(barrier, within_s), name="watch", daemon=True)
    thread.start()

    def close() -> None:
        _leaving.set()
        jax.distributed.shutdown()  # waits for the others, which may still run, then stops answering
        thread.join(within_s)

    atexit.register(close)


def _join(found: Found, timeout_s: int, heartbeat_s: int) -> None:
    text = f"waiting for the other processes (found by: {found.name}), for {timeout_s} s at most; "
    text += "with --cluster=off a process runs alone"
    notice = threading.Timer(WAITING_S, lambda: print(text, file=sys.stderr, flush=True))
    notice.daemon = True
    notice.start()
    try:
        jax.distributed.initialize(
            found.coordinator,
            found.num_processes,
            found.process_id,
            local_device_ids=found.local_device_ids,
            cluster_detection_method=found.method,
            initialization_timeout=timeout_s,
            heartbeat_timeout_seconds=2 * heartbeat_s,  # the watch notices earlier
            shutdown_timeout_seconds=heartbeat_s,
        )
    except jax.errors.JaxRuntimeError as error:
        where = found.coordinator or "the address that JAX found"
        raise OSError(f"coordinator = {where}: cannot be used ({error})") from None
    finally:
        notice.cancel()
