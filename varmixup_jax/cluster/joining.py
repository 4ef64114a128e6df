"""Joining the processes of a run, and leaving: together, or alone for a reason of one's own."""

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
# Not longer: where the lead is gone JAX, which notices too, aborts this process within a second.
GRACE_S = 0.05
WAITING_S = 10.0
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

    Without the three the environment is searched, see `launchers.find`. A process that nothing shows
    to have companions is left as it is. SIGTERM is left to Python (JAX's preemption service
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
        _keep_watch(heartbeat_s)
    return jax.process_count()


def broke_off(error: BaseException) -> bool:
    """Whether the error is one of JAX's runtime, e.g. of a collective that a lost process broke off.

    Some of its calls raise a ValueError with the status in front.

    >>> broke_off(ValueError("UNKNOWN: Gloo AllGather failed")), broke_off(ValueError("epochs = 0"))
    (True, False)
    """
    return isinstance(error, jax.errors.JaxRuntimeError) or bool(re.match(STATUS, str(error)))


def settle() -> None:
    """After a failure of the runtime: does not return if that was because another process is lost."""
    if jax.process_count() > 1:
        time.sleep(1.5 * _within_s)


def leave(code: int) -> int:
    """Ends this process at once with `code` where there are others; else returns it.

    A process that ends in the ordinary way waits for the others, which may be waiting for it. Call
    this where a process ends for a reason of its own (a refusal, a signal): the others then end
    within the bounds that `initialize` set.
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
    """Ends this process where others no longer answer; each answers in a thread like this one.

    Whatever the main thread is waiting for: one that hangs in a collective because another is lost is
    not taken for the lost one.
    """
    for number in itertools.count():
        # The wait itself may never end, where the lead is silent and its connections stay open.
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
    # For this process to end for a reason of its own, as the other may have.
    if not _leaving.wait(GRACE_S):
        text = "error: another process of this run was lost; the same command resumes"
        print(text, file=sys.stderr, flush=True)
        os._exit(LOST)


def _keep_watch(within_s: float) -> None:
    """Starts the watch, and sees to it that it ends with JAX's runtime."""
    global _within_s
    _within_s = within_s
    thread = threading.Thread(target=_watch, args=(barrier, within_s), name="watch", daemon=True)
    thread.start()

    def close() -> None:
        _leaving.set()
        jax.distributed.shutdown()  # waits for the others, who may go on, then ends the answers
        thread.join(within_s)

    atexit.register(close)


def _join(found: Found, timeout_s: int, heartbeat_s: int) -> None:
    text = f"waiting for the other processes (found by: {found.name}), for {timeout_s} s at most; "
    text += "with --cluster=off a process stays alone"
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
            heartbeat_timeout_seconds=2 * heartbeat_s,  # the watch knows earlier
            shutdown_timeout_seconds=heartbeat_s,
        )
    except jax.errors.JaxRuntimeError as error:
        where = found.coordinator or "the address that JAX found"
        raise OSError(f"coordinator = {where}: cannot be used ({error})") from None
    finally:
        notice.cancel()
