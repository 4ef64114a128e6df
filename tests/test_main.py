"""The real command line on digits, in processes of its own: results, sweeps, resumption."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from cli import ROOT, assert_same, launch, launch_sweep, newest, results, summary
from jax.errors import JaxRuntimeError

from varmixup_jax import __version__, cli, main


def test_a_run_leaves_what_it_should(straight):
    workdir = straight
    found = summary(workdir)
    assert found["status"] == "done"
    assert found["steps"] == 50
    assert len(found["params_sha256"]) == 64
    peak = found["peak_rss_mib"]
    assert peak is None or 100 < peak < 10_000
    assert found["vae"]["psnr"] > 5
    rows = results(workdir)
    expected = {"run", "method", "seed", "step", "dataset", "split", "corruption", "severity"}
    assert set(rows[0]) == expected | {"metric", "value", "count"}
    values = {row["metric"]: row["value"] for row in rows}
    assert {"accuracy", "nll", "brier", "ece", "ece_adaptive", "pgd2_accuracy"} <= set(values)
    assert any(name.startswith("local_linearity_error") for name in values)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[-1] < 0.9 * losses[0]
    for name in ("config.json", "metrics.jsonl", "artifacts.npz", "report.html", "report.md"):
        assert (workdir / name).stat().st_size > 0
    assert list((workdir / "pictures").glob("*.png"))
    assert "accuracy" in (workdir.parent / "logs" / "varmixup-s0.log").read_text()


def test_a_failed_run_of_a_sweep_is_reported_with_the_end_of_its_log(swept):
    workdir, code, output = swept
    assert code == 1
    assert "locked-s0: ended with code 2" in output
    shown = output.split("locked-s0: failed; the end of ")[1]
    assert f"error: workdir {workdir / 'locked-s0'}: another run is using it" in shown
    assert "1 of 2 runs done" in shown
    assert "| varmixup |" in output
    assert (workdir / "report.html").stat().st_size > 10_000
    assert output.index("locked-s0: started") < output.index("varmixup-s0: ended")


def test_a_sweep_skips_what_is_done(straight, cache):
    run = ("--run=more erm", "--seeds=0")
    code, planned = launch_sweep(cache, straight.parent, *run, "--dry_run")
    done, left = planned.splitlines()
    assert (code, done) == (0, "varmixup-s0: done before")
    assert "-m varmixup_jax.main --config=configs/digits.py" in left
    place = straight.parent / "more-s0"
    assert left.endswith(f"--config.method=erm '--config.seeds=(0,)' --workdir={place}")
    code, output = launch_sweep(cache, straight.parent)
    assert code == 0
    assert "started" not in output
    assert "1 of 1 runs done" in output


def test_sigterm_saves_within_ten_seconds_and_the_run_resumes(cache, straight, preempted, tmp_path):
    interrupted, code, seconds = preempted
    assert code == 143
    assert seconds < 10
    text = (interrupted.parent / "run.output").read_text()
    assert "resumes it" in text.splitlines()[-1]
    assert "Traceback" not in text
    assert 12 <= int(newest(interrupted).name) < summary(straight)["steps"]
    workdir = shutil.copytree(interrupted, tmp_path / "run")
    done = launch(cache, workdir)
    assert done.returncode == 0, done.stderr
    assert f"resuming at step {newest(interrupted).name}" in done.stderr
    assert_same(workdir, straight)


@pytest.fixture
def quiet_main(monkeypatch):
    """`main` without what it sets for the whole process."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(main.compilation, "configure", lambda **_: None)
    monkeypatch.setattr(main.PREEMPTION, "install", lambda: None)


@pytest.mark.parametrize(
    "error", [ValueError("UNKNOWN: Gloo failed"), JaxRuntimeError("INTERNAL: x")], ids=repr
)
def test_a_failure_of_the_runtime_is_no_refusal(error, tmp_path, monkeypatch, capsys, quiet_main):
    def fail(*_):
        raise error

    monkeypatch.setattr(main.runs, "run", fail)
    assert main.main(["--config=digits", f"--workdir={tmp_path}"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback")
    assert str(error) in printed.splitlines()[-1]


# The commands' help.


def shown(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert max(map(len, printed.out.splitlines())) <= 105
    return printed.out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["varmixup"])
    printed = shown(capsys, *name.split(), "--help")
    assert printed.startswith(f"usage: varmixup {name}")
    assert f"\n\nexamples:\n  varmixup {name}" in printed


def test_help_of_train_says_what_there_is(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["varmixup"])
    printed = shown(capsys, "train", "-h")
    for flag in ("config", "import", "workdir", "coordinator", "num_processes", "process_id"):
        assert f"  --{flag} " in printed
    for code in (0, 2, 3, 4, 5, 130):
        assert re.search(rf"^  {code} ", printed, re.MULTILINE), code


def test_help_names_every_command(capsys):
    printed = shown(capsys, "--help")
    for name, (_, purpose) in cli.COMMANDS.items():
        assert re.search(rf"^  {name} +{purpose}$", printed, re.MULTILINE)
    assert shown(capsys, "--version") == f"varmixup_jax {__version__}\n"


def test_a_misspelt_command_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["trian"])
    assert ended.value.code == 2
    assert "'trian'" in capsys.readouterr().err


def test_help_and_version_need_no_jax():
    code = "import sys, varmixup_jax.cli as c; c.main([]); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
