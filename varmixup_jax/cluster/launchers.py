"""Detects from the environment whether this process is one of several, and which one.

JAX detects clusters too, but some of its detectors see a cluster in a lone process (an allocation of
one task, a notebook in a pod) or give a task one GPU of several; this decides, then hands over to JAX.
"""

from __future__ import annotations

import glob
import importlib.util
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from varmixup_jax import checks

Environment = Mapping[str, str]


class Found(NamedTuple):
    """Arguments of `jax.distributed.initialize`; None leaves a value to JAX's own detection.

    Attributes:
      name: of the launcher, for messages.
      coordinator: `host:port` of process 0.
      num_processes, process_id: how many, and the index of this one.
      local_device_ids: the GPUs of this process, among those visible to it.
      method: JAX's detection method.
    """

    name: str
    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    local_device_ids: list[int] | None = None
    method: str | None = None


def find(
    env: Environment,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    mode: str = "auto",
) -> Found | None:
    """How to join the other processes, or None if there are none.

    In this order: the three arguments; the variables `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES`
    and `JAX_PROCESS_ID`, all set; a SLURM step of more than one task; Open MPI with more than one
    rank; a TPU host; an indexed Kubernetes job (a JobSet's too).

    Args:
      env: the environment.
      coordinator, num_processes, process_id: as in `cluster.initialize`.
      mode: one of `MODES`.

    Raises:
      ValueError: values incomplete or out of range, or this process was not started by `mode`.

    >>> find({}) is None
    True
    >>> find({}, "10.0.0.1:1234", 2, 1).process_id
    1
    """
    checks.one_of(MODES, mode=mode)
    given: dict[str, Any] = {
        "coordinator": coordinator,
        "num_processes": num_processes,
        "process_id": process_id,
    }
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        there = next(name for name in given if name not in missing)
        raise ValueError(f"{missing[0]} = None: must be given, as {there} is")
    if mode == "off":
        return None
    if missing and mode == "auto":
        given = _from_variables(env)
    if given and None not in given.values():
        return _explicit(**given)
    names = _FINDERS if mode == "auto" else (mode,)
    found = next((found for name in names if (found := _FINDERS[name](env))), None)
    if found is None and mode != "auto":
        text = f"this process was not started by {mode}; use auto or off"
        raise ValueError(f"mode = {mode!r}: {text}")
    return found


def _from_variables(env: Environment) -> dict[str, Any]:
    names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    if not all(env.get(name) for name in names):
        return {}
    return {
        "coordinator": env[names[0]],
        "num_processes": _whole(env, names[1]),
        "process_id": _whole(env, names[2]),
    }


def _explicit(coordinator: str, num_processes: int, process_id: int) -> Found | None:
    checks.whole(1, num_processes=num_processes)
    checks.whole(0, process_id=process_id)
    checks.in_range(0, num_processes - 1, process_id=process_id)
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"coordinator = {coordinator!r}: must be host:port")
    if num_processes == 1:
        return None
    return Found("explicit", coordinator, num_processes, process_id, method="deactivate")


def _slurm(env: Environment) -> Found | None:
    names = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
    if not all(name in env for name in names):
        return None
    # SLURM_NTASKS may be that of the allocation; the step's count is the number srun started.
    here = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in env else "SLURM_NTASKS"
    tasks = _whole(env, here)
    if tasks == 1:
        return None
    return Found(
        "slurm", num_processes=tasks, local_device_ids=_slurm_devices(env, tasks), method="slurm"
    )


def _slurm_devices(env: Environment, tasks: int) -> list[int] | None:
    """All GPUs bound to this task, or its equal share of those visible to all tasks of a node.

    JAX by itself would use only GPU number `SLURM_LOCALID`.
    """
    if not env.get("CUDA_VISIBLE_DEVICES"):
        return None
    seen = len(env["CUDA_VISIBLE_DEVICES"].split(","))
    nodes = _whole(env, "SLURM_STEP_NUM_NODES") if "SLURM_STEP_NUM_NODES" in env else 1
    per_node = math.ceil(tasks / nodes)
    bound = "SLURM_GPUS_PER_TASK" in env or seen < per_node
    share = seen if bound else seen // per_node
    first = 0 if bound else _whole(env, "SLURM_LOCALID") * share
    return list(range(first, first + share))


def _openmpi(env: Environment) -> Found | None:
    if "OMPI_COMM_WORLD_SIZE" not in env or _whole(env, "OMPI_COMM_WORLD_SIZE") == 1:
        return None
    if "OMPI_MCA_orte_hnp_uri" in env:
        return Found("openmpi", method="ompi")
    if not env.get("JAX_COORDINATOR_ADDRESS"):
        text = "must be set to host:port of rank 0: this Open MPI does not provide it"
        raise ValueError(f"JAX_COORDINATOR_ADDRESS = '': {text}")
    return _explicit(
        env["JAX_COORDINATOR_ADDRESS"],
        _whole(env, "OMPI_COMM_WORLD_SIZE"),
        _whole(env, "OMPI_COMM_WORLD_RANK"),
    )


def _tpu(env: Environment) -> Found | None:
    if env.get("JAX_PLATFORMS", "tpu").split(",")[0] not in ("", "tpu"):
        return None
    devices = glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")
    if not devices or importlib.util.find_spec("libtpu") is None:
        return None
    hosts = env.get("TPU_PROCESS_ADDRESSES") or env.get("TPU_WORKER_HOSTNAMES")
    slices = _whole(env, "MEGASCALE_NUM_SLICES") if env.get("MEGASCALE_NUM_SLICES") else 1
    if hosts:
        return Found("tpu") if len(hosts.split(",")) > 1 or slices > 1 else None
    # A virtual machine: JAX asks the metadata server, which knows the other hosts.
    return None if "TPU_SKIP_MDS_QUERY" in env else Found("tpu")


def _kubernetes(env: Environment) -> Found | None:
    if "KUBERNETES_SERVICE_HOST" not in env or "JOB_COMPLETION_INDEX" not in env:
        return None
    if importlib.util.find_spec("kubernetes") is None:
        text = "must be set, with JAX_COORDINATOR_ADDRESS and JAX_PROCESS_ID, or install jax[k8s]"
        raise ValueError(f"JAX_NUM_PROCESSES = '': {text}")
    return Found("kubernetes")


def _whole(env: Environment, name: str) -> int:
    if not env.get(name, "").isdecimal():
        raise ValueError(f"{name} = {env.get(name)!r}: must be a whole number")
    return int(env[name])


_FINDERS = {"slurm": _slurm, "openmpi": _openmpi, "tpu": _tpu, "kubernetes": _kubernetes}
MODES = ("auto", "off", *_FINDERS)
