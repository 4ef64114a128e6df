"""SIGTERM and Ctrl-C: answered at once, put off, dropped by a callback, or sent twice."""

import json
import signal
from types import SimpleNamespace
from unittest import mock

import pytest
from test_measure import LABELS, TEST

from varmixup_jax import errors
from varmixup_jax.config import base_config, freeze
from varmixup_jax.evaluation.conditions import Conditions
from varmixup_jax.runs import measure, run_directory, sweep
from varmixup_jax.runs.preemption import PREEMPTION, SIGNALS
from varmixup_jax.training.loop import Preempted

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.fixture
def installed():
    """What answers this process's signals."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    PREEMPTION.install()
    yield PREEMPTION
    for number, handler in before.items():
        signal.signal(number, handler)
    PREEMPTION.__init__()


def dropped(number):
    """The signal comes while a finaliser runs, whose errors Python prints and drops."""

    class Finalised:
        def __del__(self):
            signal.raise_signal(number)

    Finalised()


def came(number):
    """It came, and what was raised is gone."""
    with pytest.raises(Preempted):
        signal.raise_signal(number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_one_line_and_the_exit_code_of_its_number(number, installed, capsys):
    assert errors.exit_code(lambda: signal.raise_signal(number), []) == CODES[number]
    assert capsys.readouterr().err == "error: asked to stop; the same command resumes it\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_what_is_training_stops_by_itself_and_the_code_is_the_signals(number, installed):
    def fit(asked):
        assert not asked()
        signal.raise_signal(number)
        assert asked()
        raise Preempted(7)  # it knows no signals

    with pytest.raises(Preempted) as stopped, installed.deferred() as asked:
        fit(asked)
    assert (stopped.value.step, stopped.value.signal) == (7, number)


def test_another_process_was_asked(installed):
    with pytest.raises(Preempted) as stopped, installed.deferred():
        raise Preempted(7)
    assert stopped.value.signal == signal.SIGTERM
    installed.check()


@pytest.mark.parametrize("number", SIGNALS)
def test_the_same_signal_twice_ends_the_process(number, installed):
    came(number)
    assert signal.getsignal(number) is signal.SIG_DFL


def test_the_other_signal_does_not_break_into_the_end(installed):
    came(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Preempted) as stopped:
        installed.check()
    assert stopped.value.signal == signal.SIGINT


def test_ctrl_c_before_a_run_has_begun(capsys):
    with mock.patch.object(errors.cluster, "leave", lambda code: code):
        assert errors.exit_code(mock.Mock(side_effect=KeyboardInterrupt), []) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_a_background_job_of_a_shell_goes_on_at_ctrl_c(installed):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    installed.install()
    signal.raise_signal(signal.SIGINT)
    installed.check()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_a_callback_drops_while_the_page_is_written(installed, tmp_path):
    config = base_config()
    config.method, config.quiet = "erm", True
    run_directory.write(tmp_path, config=run_directory.run_config(freeze(config), "erm", 0))
    run_directory.write(tmp_path, summary={"status": "done"})
    (tmp_path / "results.jsonl").write_text(json.dumps({"metric": "ece"}))
    with (
        mock.patch.object(sweep, "close", side_effect=lambda *_: dropped(signal.SIGTERM)),
        pytest.raises(Preempted),
    ):
        sweep.run(config, tmp_path)


@pytest.mark.parametrize("when", ["in the last steps of training", "in a callback"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_evaluation_begins_after_a_signal(when, installed):
    if when == "in a callback":
        dropped(signal.SIGTERM)
    else:
        with installed.deferred():
            signal.raise_signal(signal.SIGTERM)

    def evaluate(*_, progress, **__):
        progress("clean")
        pytest.fail("evaluated")

    data = SimpleNamespace(
        name="toy",
        test_images=TEST,
        test_labels=LABELS,
        val_images=TEST[:0],
        val_labels=LABELS[:0],
        num_classes=4,
    )
    setup = SimpleNamespace(
        config=freeze(base_config()),
        data=data,
        logits=None,
        mapping=SimpleNamespace(shard_batch=None),
        conditions=Conditions("none", "synthetic", len),
        unseen={},
    )
    with mock.patch.object(measure, "evaluate", evaluate), pytest.raises(Preempted):
        measure.measured(setup, None, None, {"run": "toy"})
