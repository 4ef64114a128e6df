"""Sweeps of one process per run, and the scripts that start runs on clusters."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from launch import on_local, sweep
from launch.plan import Job, plan

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = ROOT / "launch"
RECIPE = "configs/digits.py"
# ml_collections loads recipes so.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
SCRIPTS = sorted(p for p in LAUNCH.iterdir() if p.suffix in (".sh", ".sbatch"))
TINY = (
    "--config.epochs=1",
    "--config.model.width=4",
    "--config.data.limit=128",
    "--config.eval.corruptions=none",
    "--config.eval.attack_examples=0",
    "--config.eval.linearity_examples=0",
)


@pytest.fixture(autouse=True)
def _in_a_clone(monkeypatch):
    monkeypatch.chdir(ROOT)


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


# A sweep's plan.


def test_runs_are_laid_out_as_main_does(tmp_path):
    made = plan(RECIPE, "erm,varmixup", "3,0", tmp_path, TINY)
    assert [job.name for job in made.jobs] == ["erm-s3", "varmixup-s3", "erm-s0", "varmixup-s0"]
    assert [job.place for job in made.jobs] == [tmp_path / job.name for job in made.jobs]
    assert made.baseline is made.jobs[0]
    assert made.jobs[1].words[3:] == (
        f"--config={RECIPE}",
        *TINY,
        "--config.method=varmixup",
        "--config.seeds=(3,)",
        f"--workdir={tmp_path / 'varmixup-s3'}",
    )
    assert not any(job.done for job in made.jobs)
    assert not list(tmp_path.iterdir())


def test_methods_and_seeds_default_to_the_recipes(tmp_path):
    made = plan("configs/digits.py:mixup,at", "", "", tmp_path)
    assert [job.name for job in made.jobs] == ["mixup-s0", "at-s0"]
    assert made.baseline is None


REFUSED = [
    (("--methods=ermm",), "did you mean erm"),
    (("--seeds=a",), "--seeds = 'a': must be whole numbers"),
    (("--seeds=1,1",), "must be distinct"),
    (("--seeds=-1",), "must be whole numbers >= 0"),
    (("--jobs=0",), "--jobs = 0: must be a whole number >= 1"),
    (("--on=moon",), "'moon'"),
    (("--gpus=-1",), "--gpus = -1"),
    (("--sbatch=account",), "must be NAME=VALUE"),
    (("--config.epoch=3",), "config.epoch: no such field (did you mean epochs"),
    (("--config.epochs=0",), "config.epochs = 0.0: must be > 0"),
    (("--config.seeds=3",), "must be given as --seeds"),
    (("--config.method=erm",), "must be given as --methods"),
    (("--config.epochs", "3"), "'--config.epochs': not understood"),
    (("--baseline=mixup",), "--baseline = 'mixup': must be one of varmixup"),
    (("stray",), "'stray': not understood"),
    (("--config=configs/digitz.py",), "configs/digitz.py"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[w[0] for w, _ in REFUSED])
def test_bad_words_are_refused_in_one_line(words, message, tmp_path, capsys):
    arguments = [f"--config={RECIPE}", f"--workdir={tmp_path / 'runs'}", *words]
    assert sweep.main(arguments) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert message in errors[0]
    assert not (tmp_path / "runs").exists()


def test_a_directory_with_another_configuration_is_refused(tmp_path, capsys):
    place = tmp_path / "erm-s0"
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"epochs": 3.0}))
    arguments = [f"--config={RECIPE}", "--methods=erm", f"--workdir={tmp_path}"]
    assert sweep.main(arguments) == 2
    assert "another configuration: " in capsys.readouterr().err


# A sweep on this machine.


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of two runs of which the second cannot begin, and the same sweep once it can."""
    workdir = tmp_path_factory.mktemp("sweep")
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(workdir / "cache")}
    environment.pop("XLA_FLAGS", None)

    def start(*words, module="launch.sweep"):
        line = [sys.executable, "-m", module, *words, f"--workdir={workdir}", *TINY]
        return subprocess.run(
            line, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240
        )

    words = (f"--config={RECIPE}", "--methods=erm", "--seeds=0,1")
    (workdir / "erm-s1").mkdir()
    with (workdir / "erm-s1" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        first = start(*words, "--jobs=2")
    planned = start(*words, "--dry_run")
    second = start(*words)
    by_main = start(f"--config={RECIPE}:erm", "--config.seeds=(0,1)", module="varmixup_jax.main")
    return workdir, first, planned, second, by_main


def test_a_failed_run_is_reported_with_the_end_of_its_log(swept):
    workdir, first, *_ = swept
    assert first.returncode == 1, first.stderr
    assert "erm-s1: ended with code 2" in first.stdout
    shown = first.stdout.split("erm-s1: failed; the end of ")[1]
    assert f"error: workdir {workdir / 'erm-s1'}: another run is using it" in shown
    assert "1 of 2 runs done" in shown
    assert "| erm | 1 |" in first.stdout


def test_a_dry_run_prints_what_is_left_to_do(swept):
    workdir, _, planned, *_ = swept
    assert planned.returncode == 0, planned.stderr
    done, left = planned.stdout.splitlines()
    assert done == "erm-s0: done before"
    assert "-m varmixup_jax.main --config=configs/digits.py" in left
    assert left.endswith(f"--config.method=erm '--config.seeds=(1,)' --workdir={workdir}/erm-s1")


def test_finished_runs_are_skipped_and_the_page_compares_all(swept):
    workdir, _, _, second, _ = swept
    assert second.returncode == 0, second.stdout + second.stderr
    assert "erm-s0: done before" in second.stdout
    assert "erm-s0: started" not in second.stdout
    assert "erm-s1: ended with code 0" in second.stdout
    assert "2 of 2 runs done" in second.stdout
    assert "| erm | 2 |" in (workdir / "report.md").read_text()
    assert (workdir / "report.html").stat().st_size > 10_000
    for name in ("erm-s0", "erm-s1"):
        assert json.loads((workdir / name / "summary.json").read_text())["status"] == "done"


def test_main_goes_on_with_what_a_sweep_began(swept):
    workdir, *_, by_main = swept
    assert by_main.returncode == 0, by_main.stderr
    assert "step" not in by_main.stderr
    assert sorted(p.parent.name for p in workdir.glob("*/summary.json")) == ["erm-s0", "erm-s1"]


def job(tmp_path, name, code):
    words = (sys.executable, "-c", code)
    return Job(name, tmp_path / name, tmp_path / "logs" / f"{name}.log", words, False)


def test_no_more_runs_at_a_time_than_asked_for(tmp_path):
    code = "import time; print(time.monotonic()); time.sleep(0.5); print(time.monotonic())"
    jobs = [job(tmp_path, str(n), code) for n in range(4)]
    said = []
    assert on_local.run(jobs, 2, said.append)
    times = [[float(line) for line in j.log.read_text().split()] for j in jobs]
    for begin, _ in times:
        assert sum(b <= begin < e for b, e in times) <= 2
    assert sum(line.endswith("ended with code 0") for line in said) == 4


def test_a_signal_is_passed_on_and_nothing_new_begins(tmp_path):
    code = """
import os, signal, sys, time
def save(*_):
    print("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(60)
"""
    jobs = [job(tmp_path, "first", code), job(tmp_path, "second", "print('begun')")]
    said = []
    assert not on_local.run(jobs, 1, said.append)
    assert said[-1] == "first: ended with code 143"
    assert jobs[0].log.read_text() == "saved\n"
    assert not jobs[1].log.exists()


def test_runs_at_a_time_share_out_the_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,7")
    code = "import os, time; print(os.environ['CUDA_VISIBLE_DEVICES']); time.sleep(1)"
    jobs = [job(tmp_path, str(n), code) for n in range(2)]
    assert on_local.run(jobs, 2, lambda _: None)
    assert [j.log.read_text() for j in jobs] == ["4,7\n", "5\n"]
    with pytest.raises(ValueError, match=r"--jobs = 4: must be <= 3, the GPUs there are"):
        on_local.run(jobs, 4, lambda _: None)


def test_gpus_are_counted(tmp_path, monkeypatch):
    executable(tmp_path / "nvidia-smi", "#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho 'GPU 1: A'\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("JAX_PLATFORMS", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert on_local.visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert on_local.visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert on_local.visible_gpus() == []


# A sweep on SLURM; the real thing is in tests/cluster.


@pytest.mark.parametrize("there", [False, True])
def test_what_slurm_needs_is_named(there, tmp_path, monkeypatch, capsys):
    if there:
        for name in ("sbatch", "squeue"):
            executable(tmp_path / name, "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "submitit", None)
    arguments = [f"--config={RECIPE}", f"--workdir={tmp_path / 'runs'}", "--on=slurm"]
    assert sweep.main(arguments) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    needed = "pip install 'varmixup_jax[launch]'" if there else "there is no sbatch here"
    assert needed in errors[0]


# The scripts.


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
        env={**os.environ, "PYTHON": str(fake), "JAX_NUM_CPU_DEVICES": ""},
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


# The JobSet.


def section(required, **properties):
    """The schema of an object with these fields and no others; `required` a string of names."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def listed(items):
    return {"type": "array", "items": items, "minItems": 1}


TEXT, WHOLE, FLAG = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
NAMES = {"type": "object", "additionalProperties": TEXT}
QUANTITY = {"anyOf": [WHOLE, {"type": "string", "pattern": r"^[0-9.]+([KMGT]i?|m)?$"}]}
RESOURCES = {"type": "object", "additionalProperties": QUANTITY}
CONTAINER = section(
    "name image",
    name=NAME,
    image=TEXT,
    workingDir=TEXT,
    command=listed(TEXT),
    args=listed(TEXT),
    env=listed(section("name value", name=TEXT, value=TEXT)),
    ports=listed(section("containerPort", containerPort=WHOLE)),
    resources=section("", limits=RESOURCES, requests=RESOURCES),
    volumeMounts=listed(section("name mountPath", name=NAME, mountPath=TEXT)),
)
POD = section(
    "containers restartPolicy",
    restartPolicy={"const": "Never"},  # a podFailurePolicy asks for it
    terminationGracePeriodSeconds=WHOLE,
    nodeSelector=NAMES,
    containers=listed(CONTAINER),
    volumes=listed(
        section(
            "name",
            name=NAME,
            persistentVolumeClaim=section("claimName", claimName=NAME),
            emptyDir=section("", medium={"enum": ["", "Memory"]}),
        )
    ),
)
EXIT_CODES = section(
    "operator values", containerName=NAME, operator={"enum": ["In", "NotIn"]}, values=listed(WHOLE)
)
JOB = section(
    "completionMode completions parallelism backoffLimit template",
    completionMode={"const": "Indexed"},  # gives JOB_COMPLETION_INDEX
    completions=WHOLE,
    parallelism=WHOLE,
    backoffLimit=WHOLE,
    podFailurePolicy=section(
        "rules",
        rules=listed(
            section(
                "action onExitCodes",
                action={"enum": ["FailJob", "Ignore", "Count"]},
                onExitCodes=EXIT_CODES,
            )
        ),
    ),
    template=section("spec", spec=POD),
)
RULE = section(
    "name action",
    name=TEXT,
    action={"enum": ["FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"]},
    onJobFailureReasons=listed(
        {"enum": ["BackoffLimitExceeded", "DeadlineExceeded", "PodFailurePolicy"]}
    ),
)
JOBSET = section(
    "apiVersion kind metadata spec",
    apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"},
    metadata=section("name", name=NAME, labels=NAMES),
    spec=section(
        "network failurePolicy replicatedJobs",
        network=section("", enableDNSHostnames=FLAG, publishNotReadyAddresses=FLAG, subdomain=NAME),
        failurePolicy=section("maxRestarts", maxRestarts=WHOLE, rules=listed(RULE)),
        replicatedJobs=listed(
            section(
                "name replicas template",
                name=NAME,
                replicas=WHOLE,
                template=section("spec", spec=JOB),
            )
        ),
    ),
)


@pytest.fixture
def jobset():
    return yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())


def test_the_jobset_has_the_fields_it_may_have(jobset):
    jsonschema.Draft202012Validator.check_schema(JOBSET)
    jsonschema.validate(jobset, JOBSET)
    jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["backoffLimits"] = 0
    with pytest.raises(jsonschema.ValidationError, match="backoffLimits"):
        jsonschema.validate(jobset, JOBSET)


def test_the_jobs_parts_fit_one_another(jobset):
    """What a schema cannot see: names that refer to names, numbers that must agree."""
    (nodes,) = jobset["spec"]["replicatedJobs"]
    spec = nodes["template"]["spec"]
    pod = spec["template"]["spec"]
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
