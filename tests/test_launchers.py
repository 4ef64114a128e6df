"""Who started this process: clusters are found, and lone processes are left alone."""

import pytest

from varmixup_jax.cluster.launchers import Found, find

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NUM_NODES": "2",
}
EXPLICIT = {
    "JAX_COORDINATOR_ADDRESS": "host-0:1234",
    "JAX_NUM_PROCESSES": "4",
    "JAX_PROCESS_ID": "3",
}
OPENMPI = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}


@pytest.mark.parametrize(
    "env",
    [
        {},
        SLURM | {"SLURM_NTASKS": "1"},
        SLURM | {"SLURM_STEP_NUM_TASKS": "1"},  # one task started in a larger allocation
        {name: SLURM[name] for name in SLURM if name != "SLURM_STEP_NODELIST"},  # a batch script
        EXPLICIT | {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"},
        OPENMPI | {"OMPI_COMM_WORLD_SIZE": "1"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},  # a notebook in a pod
    ],
)
def test_a_lone_process_is_left_alone(env):
    assert find(env | {"JAX_PLATFORMS": "cpu"}) is None


def test_off_finds_nothing():
    assert find(SLURM | EXPLICIT, mode="off") is None


def test_what_is_given_goes_before_what_is_found():
    found = find(SLURM | EXPLICIT, "there:1", 2, 0)
    assert found == Found("explicit", "there:1", 2, 0, method="deactivate")
    assert find(SLURM | EXPLICIT).coordinator == "host-0:1234"
    assert find(SLURM | EXPLICIT).process_id == 3


def test_slurm_counts_the_tasks_of_the_step():
    assert find(SLURM) == Found("slurm", num_processes=2, method="slurm")
    assert find(SLURM | {"SLURM_STEP_NUM_TASKS": "3"}).num_processes == 3


@pytest.mark.parametrize(
    ("env", "devices"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, [0, 1, 2, 3]),  # one task a node
        ({"CUDA_VISIBLE_DEVICES": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "3"}, [0]),
        (
            {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1"},
            [2, 3],
        ),
        (
            {
                "CUDA_VISIBLE_DEVICES": "0,1",
                "SLURM_NTASKS": "4",
                "SLURM_LOCALID": "1",
                "SLURM_GPUS_PER_TASK": "2",
            },
            [0, 1],
        ),
    ],
)
def test_a_slurm_task_takes_its_share_of_the_gpus(env, devices):
    assert find(SLURM | env).local_device_ids == devices


def test_open_mpi():
    uri = {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911"}
    assert find(OPENMPI | uri) == Found("openmpi", method="ompi")
    found = find(OPENMPI | {"JAX_COORDINATOR_ADDRESS": "host-0:1234"})
    assert found == Found("explicit", "host-0:1234", 2, 1, method="deactivate")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: find({}, mode="slurmm"), "mode = 'slurmm': must be one of .* mean slurm"),
        (lambda: find({}, mode="slurm"), "mode = 'slurm': this process was not started by slurm"),
        (lambda: find({}, "host:1", 2), "process_id = None: must be given, as coordinator is"),
        (lambda: find({}, "host:1", 0, 0), "num_processes = 0: must be a whole number >= 1"),
        (lambda: find({}, "host:1", 2, 2), r"process_id = 2: must lie in \[0, 1\]"),
        (lambda: find({}, "host", 2, 0), "coordinator = 'host': must be host:port"),
        (
            lambda: find(EXPLICIT | {"JAX_PROCESS_ID": "x"}),
            "JAX_PROCESS_ID = 'x': must be a whole number",
        ),
        (lambda: find(OPENMPI), "JAX_COORDINATOR_ADDRESS = '': must be set"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
