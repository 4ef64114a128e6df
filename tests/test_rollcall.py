"""The roll call with answers that are made up: who is named, when, and when nobody is."""

import os
import threading

import pytest

from varmixup_jax.cluster import rollcall
from varmixup_jax.cluster.rollcall import LOST, RollCall

WITHIN = 0.4


@pytest.fixture
def call(monkeypatch):
    """Starts a roll call; returns it, and the event and exit code of an end."""
    ended, codes = threading.Event(), []
    monkeypatch.setattr(rollcall, "LINGER_S", 0.0)

    def leave(code):
        codes.append(code)
        ended.set()

    monkeypatch.setattr(os, "_exit", leave)
    calls = []

    def start(answer, **options):
        options = {"lead": True, "processes": 4, "within_s": WITHIN} | options
        calls.append(RollCall(answer, **options))
        return calls[-1], ended, codes

    yield start
    for one in calls:
        one.close()
        one._answer = missed("0")
        one.join()


def missed(who):
    def answer(name, timeout_s):
        raise TimeoutError(who)

    return answer


def unreachable(name, timeout_s):
    raise RuntimeError("UNAVAILABLE")


@pytest.mark.parametrize(
    ("answer", "lead", "words"),
    [
        (missed("1"), True, "process 1 of 4 was lost (no answer within 0.4 s)"),
        (missed("1, 3"), False, "processes 1, 3 of 4 were lost (no answer within 0.4 s)"),
        (unreachable, False, "process 0 of 4 was lost (the lead cannot be reached)"),
    ],
    ids=["one", "two", "lead"],
)
def test_who_does_not_answer_is_named(answer, lead, words, call, capfd):
    _, ended, codes = call(answer, lead=lead)
    assert ended.wait(10 * WITHIN)
    assert codes == [LOST]
    assert capfd.readouterr().err == f"error: {words}; the same command resumes\n"


def test_a_lead_that_falls_silent_is_named(call, capfd):
    go = threading.Event()
    _, ended, codes = call(lambda *_: go.wait(10), lead=False)
    assert ended.wait(10 * WITHIN)
    go.set()
    assert codes == [LOST]
    assert "process 0 of 4 was lost (no answer within 0.4 s)" in capfd.readouterr().err


def test_every_call_has_a_name_of_its_own_and_a_bounded_wait(call):
    names, waits, enough = [], [], threading.Event()

    def answer(name, timeout_s):
        names.append(name)
        waits.append(timeout_s)
        if len(names) == 3:
            enough.set()

    one, ended, _ = call(answer)
    assert enough.wait(20 * WITHIN)
    one.settle()
    assert not ended.is_set()
    assert len(set(names)) == len(names) >= 5
    assert max(waits) < WITHIN


def test_a_lead_that_is_gone_is_named_while_the_answer_hangs(call, capfd):
    go = threading.Event()
    one, _, codes = call(lambda *_: go.wait(10), lead=False, reachable=lambda: False)
    one.settle()
    go.set()
    assert codes[0] == LOST
    assert "process 0 of 4 was lost (the lead cannot be reached)" in capfd.readouterr().err


def test_the_lead_takes_its_own_errors_for_nobodys_loss(call):
    one, ended, _ = call(unreachable)
    one.join()
    one.settle()
    assert not ended.is_set()


def test_one_that_ends_answers_on_and_misses_nobody(call, capfd):
    asked, gone = threading.Event(), threading.Event()

    def answer(name, timeout_s):
        asked.set()
        if gone.is_set():
            raise TimeoutError("1")

    one, ended, _ = call(answer)
    one.close()
    asked.clear()
    assert asked.wait(10 * WITHIN)
    gone.set()
    asked.clear()
    assert asked.wait(10 * WITHIN)
    one.join()
    assert not ended.is_set()
    assert capfd.readouterr().err == ""
