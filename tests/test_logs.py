"""The run's log: what is on disk, what a resume drops, what the terminal sees."""

import io
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from varmixup_jax import atomic_files
from varmixup_jax.training import heartbeat, logs
from varmixup_jax.training.logs import RunLog


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def plain_console():
    return Console(file=io.StringIO(), force_terminal=False, width=200)


class Clock:
    """A clock that moves by hand."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_metrics_are_on_disk_at_once(tmp_path):
    with RunLog(tmp_path / "new", quiet=True) as log:
        log.metrics(1, loss=np.float32(0.5), epoch=0)
        log.metrics(2, loss=math.nan, val_accuracy=math.inf)
        assert lines(tmp_path / "new") == [
            {"step": 1, "loss": 0.5, "epoch": 0.0},
            {"step": 2, "loss": None, "val_accuracy": None},
        ]
        assert "NaN" not in (tmp_path / "new" / "metrics.jsonl").read_text()


@pytest.mark.parametrize("resume", range(6))
def test_resume_from_every_step_equals_the_straight_run(tmp_path, resume):
    def train(directory, first, last, **kw):
        with RunLog(directory, quiet=True, **kw) as log:
            for step in range(first + 1, last + 1):
                log.metrics(step, loss=1 / step)

    train(tmp_path / "straight", 0, 5)
    train(tmp_path / "stopped", 0, 5)
    train(tmp_path / "stopped", resume, 5, resume_step=resume)
    straight, stopped = (tmp_path / name / "metrics.jsonl" for name in ("straight", "stopped"))
    assert straight.read_text() == stopped.read_text()


def test_resume_drops_a_line_cut_by_a_crash(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    with RunLog(tmp_path, resume_step=2, quiet=True) as log:
        log.metrics(3, loss=1.0)
    assert [line["step"] for line in lines(tmp_path)] == [1, 3]


def test_a_new_run_starts_a_new_log(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"step": 7}\n')
    with RunLog(tmp_path, quiet=True):
        assert lines(tmp_path) == []


def test_refusals_name_what_is_wrong(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2: not a line of metrics"):
        RunLog(tmp_path, resume_step=2, quiet=True).__enter__()
    with pytest.raises(ValueError, match="resume_step = -1: must be a whole number >= 0"):
        RunLog(tmp_path, resume_step=-1)
    with pytest.raises(ValueError, match=r"every_seconds = -1.0: must be >= 0"):
        RunLog(tmp_path, every_seconds=-1.0)
    with RunLog(None, quiet=True) as log, pytest.raises(ValueError, match=r"step = 1\.5"):
        log.metrics(1.5, loss=0.0)


def test_plain_lines_come_by_time_and_for_validation(tmp_path):
    console, clock = plain_console(), Clock()
    with RunLog(
        tmp_path, method="iat", total_steps=100, total_epochs=4, every_seconds=10, console=console,
        clock=clock,
    ) as log:  # fmt: skip
        clock.now = 5.0
        log.metrics(1, epoch=0, loss=2.0)  # too soon
        log.metrics(2, epoch=0, loss=1.9)  # too soon
        clock.now = 12.0
        log.metrics(3, epoch=0, loss=1.8, accuracy=0.25)  # by time
        log.metrics(4, epoch=1, loss=1.7, images_per_second=12345.6)  # too soon
        log.metrics(5, epoch=1, loss=1.6)  # too soon
        log.metrics(6, val_accuracy=0.75, val_nll=0.9)  # a validation
    text = console.file.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    begun, *lines = text.splitlines()
    assert begun == "iat  step 0/100  compiling"
    printed = [line.split("step ")[1].split("/")[0] for line in lines]
    assert printed == ["3", "6"]
    # 97 steps are left after 2 steps in 7 s, compiling not counted: 339.5 s
    for part in ("iat", "epoch 0/4", "3/100", "loss 1.8000", "soft acc 25.0%"):
        assert part in lines[0]
    assert lines[0].endswith("left 0:05:40")
    assert "img/s 12,346" in text
    assert "val acc 75.0%  val nll 0.9000" in text


def test_time_left_counts_only_the_steps_of_this_process(tmp_path):
    console, clock = plain_console(), Clock()
    with RunLog(
        tmp_path, resume_step=50, total_steps=100, every_seconds=0, console=console, clock=clock
    ) as log:
        clock.now = 90.0
        log.metrics(55, loss=1.0)  # was compiled
        clock.now = 100.0
        log.metrics(60, loss=1.0)
    lines = console.file.getvalue().splitlines()
    assert lines[:2] == ["step 50/100  compiling", "step 55/100  loss 1.0000"]
    assert lines[2].endswith("left 0:01:20")


def test_nothing_is_silent_for_ten_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(heartbeat, "TICK_SECONDS", 0.001)
    console, clock = plain_console(), Clock()

    def later(seconds, expected):
        clock.now += seconds
        time.sleep(0.05)  # many ticks
        until = time.monotonic() + 5
        while len(console.file.getvalue().splitlines()) < expected and time.monotonic() < until:
            time.sleep(0.01)

    with RunLog(tmp_path, method="at", total_steps=9, console=console, clock=clock) as log:
        later(9.0, 1)
        later(2.0, 2)
        later(10.0, 3)
        log.metrics(3, loss=1.0)
        later(9.0, 3)
        later(3.0, 4)
    lines = console.file.getvalue().splitlines()
    assert lines == [
        "at  step 0/9  compiling",
        "at  step 0/9  compiling  0:00:11",
        "at  step 0/9  compiling  0:00:21",
        "at  step 3/9  loss 1.0000  (12 s ago)",
    ]
    later(60.0, 0)
    assert console.file.getvalue().splitlines() == lines  # the thread has ended


def test_a_terminal_gets_one_live_line(tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with RunLog(tmp_path, method="[erm]", total_steps=4, console=console) as log:
        log.metrics(2, loss=0.25)
        log.say("[note] kept")
    text = console.file.getvalue()
    assert "[erm]" in text  # names are text, never markup
    assert "[note] kept" in text
    assert "loss 0.2500" in text
    assert "\x1b[2K" in text  # the live line is erased and rewritten


@pytest.mark.parametrize("width", [80, 120])
def test_a_narrow_terminal_keeps_the_bar_and_the_time_left(tmp_path, width):
    console, clock = Console(file=io.StringIO(), force_terminal=True, width=width), Clock()
    seen = {"loss": 0.25, "accuracy": 0.5, "images_per_second": 12345.0}
    with RunLog(
        tmp_path, method="varmixup s0", total_steps=4, total_epochs=30, console=console, clock=clock
    ) as log:
        for step in (1, 2):
            clock.now += 3600.0
            log.metrics(step, epoch=step, **seen, clean_accuracy=0.5, val_accuracy=0.5, val_nll=0.5)
        shown = console.file.getvalue()
        console.file.truncate(0)
        log._progress.refresh()
        (line,) = console.file.getvalue().strip("\0").split("\n")
    assert "left 2:00:00" in line
    assert "━" in line
    assert "varmixup s0  epoch 2/30" in line
    assert shown


def test_quiet_prints_nothing(tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True)
    with RunLog(tmp_path, quiet=True, every_seconds=0, console=console) as log:
        log.metrics(1, loss=1.0)
        log.say("hello")
    assert console.file.getvalue() == ""


def test_tensorboard_mirrors_and_is_not_needed(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    with RunLog(tmp_path / "with", quiet=True) as log:
        log.metrics(3, loss=0.125)
    (events,) = (tmp_path / "with" / "tensorboard").glob("events*")
    assert b"loss" in events.read_bytes()
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # its import fails
    with RunLog(tmp_path / "without", quiet=True) as log:
        log.metrics(3, loss=0.125)
    assert [p.name for p in (tmp_path / "without").iterdir()] == ["metrics.jsonl"]


def test_without_a_directory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with RunLog(None, quiet=True) as log:
        log.metrics(1, loss=1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", [logs, heartbeat, atomic_files])
def test_logs_do_not_import_jax(module):
    lines = Path(module.__file__).read_text().splitlines()
    assert not [line for line in lines if "import" in line.split() and "jax" in line.split()]
