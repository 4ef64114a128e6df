"""Reading run directories: what is found, what is refused and how the refusal reads."""

import json
import subprocess
import sys

import pytest
from report_runs import make_run

from varmixup_jax.report.names import BENCHMARK, CORRUPTIONS, METHODS
from varmixup_jax.report.rows import read_run, read_runs
from varmixup_jax.report.same_data import by_data
from varmixup_jax.report.settings import identity
from varmixup_jax.saved_config import flatten


def test_names_are_those_of_the_benchmark():
    corruptions = pytest.importorskip("varmixup_jax.corruptions")
    assert set(CORRUPTIONS) == set(corruptions.NAMES) | set(corruptions.EXTRA)
    assert (len(BENCHMARK), len(CORRUPTIONS)) == (15, 19)


def test_report_does_not_import_jax():
    code = "import sys, varmixup_jax.report.__main__; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sweeps_are_searched_and_sorted(tmp_path):
    for method, seed in (("mine", 0), ("varmixup", 1), ("varmixup", 0), ("erm", 0)):
        make_run(tmp_path / "deep" / method, method, seed, corruptions=())
    (tmp_path / "deep" / "notes").mkdir()
    found = read_runs([tmp_path, tmp_path / "deep"])  # named twice, read once
    assert [(r.method, r.seed) for r in found] == [
        ("erm", 0), ("varmixup", 0), ("varmixup", 1), ("mine", 0),
    ]  # fmt: skip
    assert METHODS[0] == "erm"


def test_a_run_is_read_as_it_was_written(tmp_path):
    path = make_run(tmp_path, "iat", 2, notes={"frost_source": "synthetic"}, metrics=3)
    run = read_run(path)
    assert (run.name, run.method, run.seed, run.done) == ("iat-cifar10-2", "iat", 2, True)
    assert run.config["model.name"] == "resnet18"
    assert [line["step"] for line in run.metrics] == [10, 505, 1000, 500, 1000]
    assert run.rows[0].value == 0.9
    assert run.rows[-1].notes == (("frost_source", "synthetic"),)
    assert flatten({"a": {"b": {"c": 1}}, "d": [2]}) == {"a.b.c": 1, "d": [2]}


def on_data(path, source, train="t", test="e"):
    """Notes what a run's data were, as runs do."""
    for name, change in (
        ("config", {"data": {"source": source, "limit": 0}}),
        ("summary", {"data": {"train": train * 64, "val": "v" * 64, "test": test * 64}}),
    ):
        file = path / f"{name}.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **change}))


def test_tables_go_by_the_data_and_not_by_their_place(tmp_path):
    """A moved file was a second row, and two sets of one file name were one table."""
    places = [make_run(tmp_path, seed=seed, dataset="toy", corruptions=()) for seed in range(5)]
    told = [("npz:/b/toy.npz", "t", "e"), ("npz:/a/toy.npz", "t", "e"), ("npz:/a/toy.npz", "u", "e"),
            ("npz:/c/toy.npz", "x", "f")]  # fmt: skip
    for place, (source, train, test) in zip(places[:4], told, strict=True):
        on_data(place, source, train, test)
    runs = by_data(read_runs([tmp_path]))
    assert [run.dataset for run in runs] == ["toy eeeeeeee"] * 3 + ["toy ffffffff", "toy"]
    assert {row.dataset for row in runs[3].rows} == {"toy ffffffff"}
    assert [run.config["data.source"] for run in runs[:2]] == ["npz:/a/toy.npz"] * 2
    assert identity(runs[0].config) == identity(runs[1].config) != identity(runs[2].config)
    told = [run.config.get("data.sha256") for run in runs]
    assert told == ["t" * 8, "t" * 8, "u" * 8, None, None]
    alone = by_data(read_runs(places[:2]))
    assert [(run.dataset, "data.sha256" in run.config) for run in alone] == [("toy", False)] * 2
