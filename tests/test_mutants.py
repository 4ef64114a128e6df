"""The list of mutants fits the tree, and the command that runs them tells the truth about each."""

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests import mutant_runs, mutants, mutate

ROOT = Path(__file__).resolve().parents[1]
LISTED = mutants.parse((ROOT / mutants.FILE).read_text(encoding="utf-8"))
# What the package exists for, and at least how many faults of it the tests must notice.
AREAS = {
    "varmixup_jax/vicinal/": 30,
    "varmixup_jax/attacks/": 20,
    "varmixup_jax/methods/": 9,
    "varmixup_jax/losses.py": 5,
    "varmixup_jax/mmd.py": 20,
    "varmixup_jax/evaluation/": 15,
    "varmixup_jax/corruptions/": 30,
    "varmixup_jax/models/": 12,
    "varmixup_jax/data/": 10,
    "varmixup_jax/training/": 40,
    "varmixup_jax/training/checkpoints.py": 8,
    "varmixup_jax/runs/": 50,
    "varmixup_jax/report/": 20,
}
CALC = "def add(a, b):\n    return a + b\n\n\ndef twice(a):\n    return add(a, a)\n"
TESTS = """
import time
import pytest
from calc import add, twice

def test_add():
    assert add(2, 3) == 5

def test_twice():
    twice(1)

def test_wrong():
    assert add(1, 1) == 3

@pytest.mark.skip
def test_skipped():
    pass

def test_slow():
    time.sleep(0 if add(1, 1) == 2 else 60)
"""


def test_every_mutant_fits_the_tree():
    assert [fault for mutant in LISTED for fault in mutants.faults(mutant, ROOT)] == []


def test_the_list_is_long_and_names_are_unique():
    assert [n for n, times in Counter(m.name for m in LISTED).items() if times > 1] == []
    count = {area: sum(m.file.startswith(area) for m in LISTED) for area in AREAS}
    assert {area: n for area, n in count.items() if n < AREAS[area]} == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": "a + c"}, "its text stands 0 times in calc.py"),
        ({"text": "return"}, "its text stands 2 times in calc.py"),
        ({"replacement": "a + )"}, "unmatched"),
        ({"replacement": "a + b"}, "the replacement is the text"),
        ({"file": "gone.py"}, "No such file"),
        ({"breaks": ""}, "does not say what it breaks"),
        ({"tests": ()}, "names no tests"),
        ({"tests": ("tests/test_calc.py::test_ad",)}, "no such test: tests/test_calc.py::test_ad"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(tmp_path, change, message):
    (tmp_path / "calc.py").write_text(CALC)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_calc.py").write_text(TESTS)
    good = mutants.Mutant(
        "minus", "calc.py", "a + b", "a - b", "sums", ("tests/test_calc.py::test_add",)
    )
    assert mutants.faults(good, tmp_path) == []
    (fault,) = mutants.faults(good._replace(**change), tmp_path)
    assert fault.startswith("minus: ")
    assert message in fault


def entry(name, tests, *, text="a + b", replacement="a - b"):
    tests = ", ".join(f'"tests/test_calc.py::{test}"' for test in tests.split())
    return (
        f'[[mutant]]\nname = "{name}"\nfile = "calc.py"\ntext = "{text}"\n'
        f'replacement = "{replacement}"\nbreaks = "sums"\ntests = [{tests}]\n'
    )


@pytest.fixture
def tree(tmp_path):
    """A repository of one module, its tests, and what `write` lists as mutants."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "calc.py").write_text(CALC)
    (tmp_path / "tests" / "test_calc.py").write_text(TESTS)
    (tmp_path / "setup.cfg").write_text("[tool:pytest]\npythonpath = .\n")
    (tmp_path / mutants.FILE).write_text(entry("old", "test_add"))
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "first"]):
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True)
    return tmp_path


def run(tree, capsys, *words, entries=()):
    if entries:
        (tree / mutants.FILE).write_text("".join(entries))
    code = mutate.main(words, root=tree)
    return code, capsys.readouterr().out.splitlines()


def test_each_kind_of_outcome_is_told(tree, capsys):
    entries = [
        entry("sum", "test_twice test_add"),
        entry("sum-import", "test_twice test_add", replacement="a + b\\n\\nundefined"),
        entry("sum-unnoticed", "test_twice"),
        entry("failing", "test_wrong"),
        entry("skipped", "test_skipped"),
    ]
    code, lines = run(tree, capsys, "--jobs=2", entries=entries)
    assert code == 2
    assert "] killed: sum, by tests/test_calc.py::test_add (" in "\n".join(lines)
    (total,) = (line for line in lines if line.startswith("5 mutants in "))
    assert total.endswith(" s: 1 killed, 1 SURVIVED, 2 INVALID, 1 not judged")
    assert "  SURVIVED: sum-unnoticed (calc.py), it would break: sums" in lines
    assert (
        "  INVALID: failing (calc.py), without it, tests/test_calc.py::test_wrong does not pass:"
        in lines
    )
    assert "  INVALID: sum-import (calc.py), with it, pytest ends with 4:" in lines
    assert "  not judged: skipped (calc.py), all of its tests are skipped here" in lines
    assert (tree / "calc.py").read_text() == CALC


def test_a_mutant_that_hangs_is_ended_and_counts_as_killed(tree, tmp_path_factory):
    same, hangs = mutants.parse(
        entry("same", "test_slow", replacement="b + a") + entry("hangs", "test_slow")
    )
    work = tmp_path_factory.mktemp("work")
    runner = mutant_runs.Runner([same, hangs], tree, work, copies=1, limit=120)
    assert runner.judge(same).outcome == mutant_runs.SURVIVED
    runner.limit = 1
    assert runner.judge(hangs)[1:3] == (mutant_runs.TIMED_OUT, "after 1 s")


def test_survivors_decide_the_exit_code(capsys):
    (mutant,) = mutants.parse(entry("sum", "test_add"))
    killed, survived, invalid = (
        mutant_runs.Verdict(mutant, outcome, "why", 1.0)
        for outcome in (mutant_runs.KILLED, mutant_runs.SURVIVED, mutant_runs.INVALID)
    )
    assert mutate.summarize([killed], 1.0) == 0
    assert mutate.summarize([killed, survived], 1.0) == 1
    assert mutate.summarize([survived, invalid], 1.0) == 2
    assert "SURVIVED: sum" in capsys.readouterr().out


def test_names_and_patterns_choose(tree, capsys):
    listed = mutants.parse(entry("sum", "test_add") + entry("sum-2", "test_add"))
    assert [m.name for m in mutate.named(listed, ["sum"])] == ["sum"]
    assert mutate.named(listed, ["sum*"]) == mutate.named(listed, []) == listed
    with pytest.raises(SystemExit) as error:
        run(tree, capsys, "summ")
    assert error.value.code == 2
    assert "no mutant in tests/mutants.toml is called summ" in capsys.readouterr().err


def test_since_takes_what_changed_and_a_budget_names_what_it_left_out(tree, capsys):
    assert run(tree, capsys, "--since=HEAD")[1][-1].endswith(": none to run")
    added = [entry("old", "test_add"), entry("new", "test_add")]
    code, lines = run(tree, capsys, "--since=HEAD", "--budget=0", entries=added)
    assert (code, lines[-1]) == (0, "  not run: new (calc.py), the time was spent")
    (tree / "tests" / "test_calc.py").write_text(f"{TESTS}\n# changed\n")
    _, lines = run(tree, capsys, "--since=HEAD", "--budget=0")
    assert [line.split()[2] for line in lines[-2:]] == ["new", "old"]  # a changed entry first
    (tree / "calc.py").write_text(f"{CALC}\n# changed\n")
    _, lines = run(tree, capsys, "--since=HEAD", "--budget=0")
    assert [line.split()[2] for line in lines[-2:]] == ["old", "new"]
    with pytest.raises(SystemExit):
        run(tree, capsys, "--since=nowhere")
    assert "git diff" in capsys.readouterr().err
