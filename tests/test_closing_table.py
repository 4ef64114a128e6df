"""The closing table: complete benchmarks only, and no run hides another."""

import io
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from varmixup_jax import corruptions
from varmixup_jax.report.closing_table import closing_table, one_run, print_table
from varmixup_jax.report.rows import Row, Run

EXTRA = {
    "corruption": "saturate",
    "severity": 1,
    "metric": "accuracy",
    "value": 100.0,
    "run": "erm",
}


def rows_of(run, clean):
    rows = [{"corruption": "none", "severity": 0, "metric": "accuracy", "value": clean}]
    for index, name in enumerate(corruptions.NAMES):
        for severity in corruptions.SEVERITIES:
            row = {"corruption": name, "severity": severity, "metric": "accuracy"}
            rows.append(row | {"value": clean * index / 15})
    linear = {"corruption": "none", "severity": 0, "metric": "local_linearity_error_8/255"}
    return [row | {"run": run} for row in [*rows, linear | {"value": math.nan}]]


def as_run(name, rows):
    place = {"method": "erm", "seed": 0, "step": 1, "dataset": "toy", "split": "test", "count": 1}
    found = [
        Row(**place | row | {"value": math.nan if row["value"] is None else row["value"]})
        for row in rows
    ]
    return Run(Path(name), name, "erm", 0, "toy", "done", {}, {}, [], found)


def text(rows):
    names = dict.fromkeys(row["run"] for row in rows)
    runs = [as_run(name, [row for row in rows if row["run"] == name]) for name in names]
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    console.print(closing_table(runs))
    return console.file.getvalue()


def test_only_a_complete_benchmark_is_averaged():
    rows = rows_of("erm", 0.9)
    mean = f"{0.9 * np.mean(np.arange(15) / 15):.4f}"
    for found in (rows, [*rows, EXTRA]):
        assert "0.9000" in text(found)
        assert mean in text(found)
    assert one_run(as_run("erm", rows))[0] == ["measure", "clean", "corrupted (15 × 5)"]
    head, line, _ = one_run(as_run("erm", [row for row in rows if row["severity"] != 5]))
    assert head == ["measure", "clean", "mean of 60 of 75 conditions"]
    assert line == ["accuracy", "0.9000", mean]  # it happens to be the same, under another name
    assert "nan" in text(rows)


def test_the_mean_of_some_corruptions_says_of_how_many():
    some = [row for row in rows_of("erm", 0.9) if row["corruption"] in ("none", "fog", "contrast")]
    head, accuracy, _ = one_run(as_run("erm", some))
    assert head == ["measure", "clean", "fog (5)", "contrast (5)", "mean of 2 of 15 corruptions"]
    fog, contrast = (0.9 * corruptions.NAMES.index(name) / 15 for name in ("fog", "contrast"))
    means = (fog, contrast, (fog + contrast) / 2)
    assert accuracy == ["accuracy", "0.9000", *(f"{mean:.4f}" for mean in means)]
    lines = text(some + [row | {"run": "other"} for row in some]).splitlines()
    assert all("\u2013" in line for line in lines if line.startswith(("erm", "other")))


def test_every_run_has_its_own_line():
    names = {"cifar10-erm-s0": 0.9, "cifar10-adv_varmixup-s0": 0.6}
    lines = text([row for name in names for row in rows_of(name, names[name])]).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert "run clean corr. clean corr. 8/255" in [" ".join(line.split()) for line in lines]
    for run, clean in names.items():
        (line,) = [line for line in lines if run in line]
        assert f"{clean:.4f}" in line
        assert f"{clean * 7 / 15:.4f}" in line


RUNS = [as_run(name, rows_of(name, 0.9)[:40]) for name in ("erm-s0", "mixup-s0")]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_every_terminal_gets_the_table(encoding, monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
    print_table(RUNS)
    text = out.getvalue().decode(encoding)
    assert "erm-s0" in text
    assert "0.9000" in text
    assert "?" not in text
    assert ("\u2013" in text) == (encoding == "utf-8")


def test_a_closed_pipe_is_no_failure(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        print_table(RUNS)
        closed.write("and what comes later")
