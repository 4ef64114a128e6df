"""`--import` makes methods of one's own known to train, evaluate and sweep."""

import sys

import pytest

import varmixup_jax.evaluate as evaluate
from varmixup_jax import main
from varmixup_jax.command_line import imported
from varmixup_jax.launch import sweep
from varmixup_jax.methods import METHODS

MODULE = """
import varmixup_jax as vj
from varmixup_jax.losses import ce

@vj.register("of_my_own", summary="cross-entropy, weighted")
def of_my_own(*, weight: float = 0.5):
    return (vj.Term(weight, vj.dirac, ce),)
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """A module in the working directory, which a console script does not have on its path."""
    (tmp_path / "my_methods.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    METHODS.pop("of_my_own", None)
    sys.modules.pop("my_methods", None)


def test_train(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(main.compilation, "configure", lambda **_: None)
    monkeypatch.setattr(main.PREEMPTION, "install", lambda: None)
    monkeypatch.setattr(main.runs, "run", lambda *arguments: seen.append(arguments))
    words = ["--config=digits:of_my_own", "--config.methods.of_my_own.weight=2"]
    words += ["--config.methods.at.steps=5", "--config.epochs=1"]
    assert main.main([*words, "--import=my_methods"]) == 0
    note = "note: config.methods.at.steps has no effect, its method is not run\n"
    assert capsys.readouterr().err == note
    ((config, workdir),) = seen
    assert (config.method, config.methods["of_my_own"]["weight"]) == ("of_my_own", 2.0)
    assert workdir == "runs/digits-of_my_own"


def test_evaluate(monkeypatch):
    known = []
    monkeypatch.setattr(evaluate.compilation, "configure", lambda **_: None)
    monkeypatch.setattr(evaluate.PREEMPTION, "install", lambda: None)
    monkeypatch.setattr(evaluate, "evaluate_again", lambda *_, **__: known.append(set(METHODS)))
    assert evaluate.main(["runs/a", "--out=b", "--import=my_methods"]) == 0
    assert "of_my_own" in known[0]


def test_every_run_of_a_sweep_imports_it(capsys):
    words = ["--config=digits", "--methods=of_my_own", "--seeds=0,1", "--import=my_methods"]
    assert sweep.main([*words, "--dry_run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(" --config=digits --import=my_methods " in line for line in lines)
    assert lines[0].endswith("--workdir=runs/digits-of_my_own/of_my_own-s0")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "--import = 'nowhere': ModuleNotFoundError: No module named 'nowhere'"),
        ("broken", "--import = 'broken': ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported(name, message, capsys):
    with pytest.raises(ValueError, match=message):
        imported(name)
    assert main.main(["--config=digits", f"--import={name}"]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
