"""The loop around a program that only notes what it was asked: no compilation, every call seen."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from varmixup_jax.training import loop
from varmixup_jax.types import TrainState

STATE = TrainState(np.int32(0), {"b": np.zeros(2), "w": np.zeros(3)}, {}, (), ())
MAPPING = SimpleNamespace(shard_order=lambda order: order)


class Program:
    """Stands for the compiled steps: the metrics of step s are `metric(s)`, padded as they are."""

    def __init__(self, **metrics):
        self.calls, self.metrics = [], {"loss": float, "grad_norm": lambda step: 1.0, **metrics}

    def __call__(self, state, fixed, order, count, key):
        first = int(state.step)
        self.calls.append((first, int(count), order[:count].copy()))
        rows = {name: np.zeros(len(order), np.float32) for name in self.metrics}
        for name, metric in self.metrics.items():
            for row in range(count):
                rows[name][row] = metric(first + row)
        return state._replace(step=np.int32(first + count)), rows


def fit(program, plan, *, start=0, **hooks):
    notes = []
    loop.fit(
        program,
        STATE._replace(step=np.int32(start)),
        {},
        plan,
        start=start,
        key=None,
        data_seed=3,
        mapping=MAPPING,
        hooks=loop.Hooks(
            metrics=lambda step, means, _: notes.append((step, means["loss"])),
            evaluate=lambda step, state: notes.append(("evaluate", step, int(state.step))),
            **hooks,
        ),
    )
    return notes


@pytest.mark.parametrize(
    ("epochs", "eval_epochs", "total", "every"),
    [
        (2.0, 1.0, 20, 10),
        (0.5, 1.0, 5, 5),
        (2.5, 0.25, 25, 2),
        (0.01, 0.01, 1, 1),
        (1.5, 9, 15, 15),
    ],
)
def test_durations_in_epochs_become_steps(epochs, eval_epochs, total, every):
    plan = loop.make_plan(
        examples=104, batch_size=10, epochs=epochs, steps_per_call=4, eval_epochs=eval_epochs
    )
    assert plan == loop.Plan(104, 10, total, 4, every)
    assert plan.steps_per_epoch == 10  # whole batches


def test_chunks_end_at_evaluations_and_see_the_steps_they_are():
    plan = loop.Plan(examples=12, batch_size=4, total_steps=8, steps_per_call=3, eval_every=4)
    program = Program()
    notes = fit(program, plan)
    assert [(first, count) for first, count, _ in program.calls] == [(0, 3), (3, 1), (4, 3), (7, 1)]
    seen = np.concatenate([order for _, _, order in program.calls])
    np.testing.assert_array_equal(seen, loop.data_order(plan, 3, 0, 8))
    for epoch in range(2):
        assert sorted(seen[3 * epoch : 3 * epoch + 3].ravel()) == list(range(12))
    assert notes == [
        (3, 1.0),  # the mean of the losses 0, 1, 2
        (4, 3.0),
        ("evaluate", 4, 4),
        (7, 5.0),
        (8, 7.0),
        ("evaluate", 8, 8),
    ]
    later = Program()
    assert fit(later, plan, start=4) == notes[3:]
    np.testing.assert_array_equal(later.calls[0][2], program.calls[2][2])


def test_epochs_and_seeds_have_orders_of_their_own():
    plan = loop.Plan(examples=10, batch_size=5, total_steps=4, steps_per_call=1, eval_every=4)
    first, second = np.split(loop.data_order(plan, 3, 0, 4), 2)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, loop.data_order(plan, 4, 0, 2))


def test_the_order_is_the_same_in_every_version():
    """A run that is resumed with another NumPy goes on with the batches it would have had."""
    plan = loop.Plan(examples=6, batch_size=6, total_steps=1, steps_per_call=1, eval_every=1)
    # Ranks of Philox's first words for the key (0, 0); the smallest is the first, 213000021201967259.
    assert loop.data_order(plan, 0, 0, 1).tolist() == [[0, 2, 1, 5, 4, 3]]


def test_a_batch_is_no_run_of_neighbours():
    plan = loop.Plan(examples=1000, batch_size=100, total_steps=10, steps_per_call=1, eval_every=10)
    rows = loop.data_order(plan, 0, 0, 10).astype(float)
    # Of a uniform permutation: neighbours are a third of the set apart, give or take 2 %.
    assert np.abs(np.diff(rows.ravel())).mean() == pytest.approx(1000 / 3, rel=0.1)
    assert np.abs(np.diff(np.arange(1000.0))).mean() < 2  # in order they would not be


@pytest.mark.parametrize("what", ["loss", "grad_norm"])
def test_what_is_not_finite_stops_before_its_evaluation(what):
    plan = loop.Plan(examples=12, batch_size=4, total_steps=6, steps_per_call=3, eval_every=3)
    program = Program(
        **{what: lambda step: np.inf if step == 4 else 1.0},
        bad_leaf=lambda step: 1.0 if step == 4 else -1.0,
    )
    text = rf"step 5: {what} = inf, first in the gradient of \['w'\]; training stopped"
    evaluated = []
    with pytest.raises(loop.NonFiniteError, match=text) as error:
        loop.fit(
            program, STATE, {}, plan, start=0, key=None, data_seed=0, mapping=MAPPING,
            hooks=loop.Hooks(lambda *_: None, lambda step, state: evaluated.append(step)),
        )  # fmt: skip
    assert (error.value.step, error.value.leaf) == (5, "['w']")
    assert evaluated == [3]


def test_a_stop_saves_the_step_it_reached():
    plan = loop.Plan(examples=12, batch_size=4, total_steps=8, steps_per_call=3, eval_every=4)
    program, saved = Program(), []
    with pytest.raises(loop.Preempted) as error:
        fit(
            program,
            plan,
            stop=lambda: len(program.calls) == 3,
            save=lambda step, state: saved.append((step, int(state.step))),
        )
    assert error.value.step == 7
    assert saved == [(7, 7)]


class Rows(np.ndarray):
    """Metrics that are seen to be there at a time on the clock of a `Device`."""

    def block_until_ready(self):
        self.owner.waited.until = self.seen_at
        return self


class Device:
    """A program, and a clock on which each of its steps takes `pace` s and compiling a minute.

    As on a real device a call may return before its steps are done, or only then, and the end of a
    chunk may go unnoticed until the next one ends.
    """

    def __init__(self, returns_late, pace, unnoticed):
        self.returns_late, self.pace, self.unnoticed = returns_late, pace, unnoticed
        self.now, self.busy_until = 0.0, 60.0
        self.program, self.waited = Program(), threading.local()

    def clock(self):
        """The time; for a thread that waited for results, that of their arrival."""
        return getattr(self.waited, "until", self.now)

    def __call__(self, state, fixed, order, count, key):
        state, rows = self.program(state, fixed, order, count, key)
        self.busy_until = max(self.now, self.busy_until) + self.pace * float(count)
        if self.returns_late:
            self.now = self.busy_until
        found = {}
        for name, value in rows.items():
            found[name] = value.view(Rows)
            late = len(order) - 0.5 if int(state.step) == self.unnoticed else 0.0
            found[name].owner, found[name].seen_at = self, self.busy_until + late
        return state, found


@pytest.mark.parametrize("returns_late", [True, False])
@pytest.mark.parametrize(("pace", "unnoticed"), [(1.0, 0), (1.0, 18), (0.1, 0)])
def test_the_speed_is_that_of_the_device_however_its_reports_come(returns_late, pace, unnoticed):
    plan = loop.Plan(examples=40, batch_size=4, total_steps=34, steps_per_call=4, eval_every=14)
    device, speeds = Device(returns_late, pace, unnoticed), {}

    def evaluate(step, state):
        device.now = max(device.now, device.busy_until) + 500.0

    loop.fit(
        device, STATE, {}, plan, start=0, key=None, data_seed=0, mapping=MAPPING,
        hooks=loop.Hooks(lambda step, means, speed: speeds.update({step: speed}), evaluate),
        clock=device.clock,
    )  # fmt: skip
    assert list(speeds) == [4, 8, 12, 14, 18, 22, 26, 28, 32, 34]
    expected = dict.fromkeys(speeds, 4.0 / pace)  # images a step
    expected[4] = 4 * 4 / (60 + 4 * pace)  # compiled
    if unnoticed:
        expected[18] = 4 * 4 / 7.5
    assert speeds == pytest.approx(expected)
