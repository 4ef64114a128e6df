"""What starts runs on one machine, on a TPU pod and on GKE; shellcheck is content with the scripts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from stand_ins import executable

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "launch"
SCRIPTS = sorted(p for p in LAUNCH.iterdir() if p.suffix in (".sh", ".sbatch"))


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / ".ci" / "run"], ids=lambda p: p.name)
def test_shellcheck_is_content(script):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    program = shutil.which("shellcheck", path=path)
    if program is None:
        pytest.skip("shellcheck is not installed: pip install -e '.[test]'")
    done = subprocess.run([program, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


FAKE_PYTHON = """#!/bin/bash
for last; do :; done
number=${last##*=}
trap 'echo saved; exit 143' TERM
linger() { for _ in {1..200}; do sleep 0.1; done; }
echo "$JAX_NUM_CPU_DEVICES $*"
case "$* " in
    *--fail=$number\\ *) exit 3 ;;
    *--wait*) [ "$number" = 0 ] && sleep 1 && kill -TERM $PPID; linger ;;
    *--stuck*) trap '' TERM; [ "$number" = 0 ] && sleep 1 && exit 5; linger ;;
esac
"""


def local(tmp_path, *words):
    fake = executable(tmp_path / "python", FAKE_PYTHON)
    return subprocess.run(
        ["bash", LAUNCH / "local.sh", *words],
        env={**os.environ, "PYTHON": str(fake), "JAX_NUM_CPU_DEVICES": "", "GRACE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_local_prints_its_head_and_its_commands(tmp_path):
    shown = local(tmp_path, "--help")
    assert shown.returncode == 0
    assert "--processes=N" in shown.stdout
    assert "set -euo" not in shown.stdout
    dry = local(tmp_path, "--processes=2", "--port=7", "--dry-run", "--", "--config=a b")
    assert dry.returncode == 0
    tail = "--coordinator=127.0.0.1:7 --num_processes=2 --process_id="
    start = rf"+ {tmp_path}/python -m varmixup_jax.main --config=a\ b {tail}"
    assert dry.stdout.splitlines() == [f"{start}0", f"{start}1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--processes=0",), "--processes = '0': must be a whole number >= 1"),
        (("--devices=x",), "--devices = 'x'"),
        (("--config=x",), "argument '--config=x': not understood"),
    ],
)
def test_local_refuses_bad_words(words, message, tmp_path):
    refused = local(tmp_path, *words)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert message in refused.stderr


def test_local_runs_every_process_to_its_end(tmp_path):
    done = local(tmp_path, "--processes=3", "--devices=4", "--port=7", "--", "--x")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("+")]
    expected = "-m varmixup_jax.main --x --coordinator=127.0.0.1:7 --num_processes=3 --process_id="
    assert sorted(lines) == [f"{n}: 4 {expected}{n}" for n in range(3)]


def test_local_ends_with_the_code_of_the_first_that_fails(tmp_path):
    failed = local(tmp_path, "--port=7", "--", "--fail=1")
    assert failed.returncode == 3
    assert "process 1 ended with code 3" in failed.stderr


def test_local_ends_those_that_wait_for_a_dead_one(tmp_path):
    done = local(tmp_path, "--port=7", "--", "--stuck")
    assert done.returncode == 5
    assert "process 1 ended with code 137" in done.stderr


def test_local_passes_sigterm_on(tmp_path):
    done = local(tmp_path, "--port=7", "--", "--wait")
    assert done.returncode == 143
    assert sorted(x for x in done.stdout.splitlines() if "saved" in x) == ["0: saved", "1: saved"]


def test_tpu_pod_hands_its_words_to_every_host(tmp_path):
    shown = tmp_path / "shown"
    executable(tmp_path / "python", f'#!/bin/sh\nprintf "%s\\n" "$@" > {shown}\n')
    executable(
        tmp_path / "gcloud",
        '#!/bin/bash\nfor word; do case $word in --command=*) eval "${word#*=}" ;; esac; done\n',
    )
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CLONE": str(tmp_path)}
    environment |= {"PYTHON": str(tmp_path / "python")}
    words = ["--config=configs/digits.py", "--config.seeds=(0, 1)", "--workdir=/it's"]
    line = ["bash", str(LAUNCH / "tpu_pod.sh"), *words]
    refused = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: TPU is empty")
    environment |= {"TPU": "slice", "ZONE": "here"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("+ gcloud compute tpus tpu-vm ssh slice --zone=here --worker=all")
    assert shown.read_text().splitlines() == ["-m", "varmixup_jax.main", *words]


@pytest.fixture
def jobset():
    return yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())


def test_the_jobs_parts_fit_one_another(jobset):
    """Names that refer to names, numbers that must agree, and what an indexed job needs."""
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    (nodes,) = jobset["spec"]["replicatedJobs"]
    spec = nodes["template"]["spec"]
    pod = spec["template"]["spec"]
    assert spec["completionMode"] == "Indexed"  # gives JOB_COMPLETION_INDEX
    assert pod["restartPolicy"] == "Never"  # a podFailurePolicy asks for it
    (container,) = pod["containers"]
    first = f"{jobset['metadata']['name']}-{nodes['name']}-0-0"
    address = f"{first}.{jobset['spec']['network']['subdomain']}"
    (port,) = container["ports"]
    assert f"--coordinator={address}:{port['containerPort']}" in container["args"]
    assert f"--num_processes={spec['completions']}" in container["args"]
    assert spec["parallelism"] == spec["completions"]
    assert "--process_id=$(JOB_COMPLETION_INDEX)" in container["args"]
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert rule["onExitCodes"]["values"] == [2, 3]


def test_the_job_inside_is_one_that_kubernetes_knows(jobset):
    validate = pytest.importorskip("kubernetes_validate").validate
    inner = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "nodes"}}
    inner["spec"] = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert validate(inner, "1.31", strict=True) == "1.31"
