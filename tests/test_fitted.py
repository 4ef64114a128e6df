"""Training in a directory: stopped and resumed, the best of it chosen, the log of all of it."""

import itertools
import json
from contextlib import contextmanager

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from varmixup_jax.runs.preemption import Preemption
from varmixup_jax.runs.resume import Task, Watch, fitted
from varmixup_jax.training.checkpoints import SCORE, Checkpoints
from varmixup_jax.training.loop import NonFiniteError, Plan, Preempted, data_order
from varmixup_jax.training.parallel import distribute
from varmixup_jax.training.step import init_state

PLAN = Plan(examples=20, batch_size=4, total_steps=12, steps_per_call=3, eval_every=4)
X = np.random.default_rng(0).normal(size=(PLAN.examples, 3)).astype(np.float32)
RATE, SEED = 0.1, 3


def loss(params, stats, key, fixed, index):
    noise = jax.random.normal(key, (3,))
    return jnp.mean(jnp.square(params[None] - fixed[index] - noise[None])), (stats, {})


def task():
    tx = optax.sgd(RATE, momentum=0.9)
    fresh = init_state(jnp.zeros(3), {}, tx)
    return Task("toy", loss, tx, 0.0, fresh, X, PLAN, jax.random.key(7), SEED)


def scores(by_step):
    """A watch that says how good each step is, and by default that the later is worse."""
    return Watch(validate=lambda state: {SCORE: by_step.get(int(state.step), -float(state.step))})


def train(place, *, preemption=None, watch=None, **options):
    mapping = distribute("jit", jax.devices()[:1])
    preemption = preemption or Preemption()
    watch = watch or scores({8: 0.9})
    return fitted(
        task(),
        place,
        mapping,
        preemption=preemption,
        watch=watch,
        select=True,
        quiet=True,
        **options,
    )


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    place = tmp_path_factory.mktemp("straight")
    return train(place), place


def steps_logged(place):
    lines = map(json.loads, (place / "metrics.jsonl").read_text().splitlines())
    return [line["step"] for line in lines if "loss" in line]


def test_training_is_sgd_over_the_order_of_the_data_with_a_key_for_each_step(straight):
    params, velocity = np.zeros(3), np.zeros(3)
    for step in range(PLAN.total_steps):
        noise = jax.random.normal(jax.random.fold_in(jax.random.key(7), step), (3,))
        batch = X[data_order(PLAN, SEED, step, step + 1)[0]]
        velocity = 0.9 * velocity + 2 / 3 * (params - batch.mean(0) - np.asarray(noise))
        params = params - RATE * velocity
    np.testing.assert_allclose(straight[0].last.params, params, rtol=1e-5)
    assert straight[0].step == straight[0].last.step == PLAN.total_steps
    assert steps_logged(straight[1]) == [3, 4, 7, 8, 11, 12]


class AskedAfter(Preemption):
    """Is asked to stop when so many chunks of steps are done."""

    def __init__(self, chunks):
        super().__init__()
        self.chunks = chunks

    @contextmanager
    def deferred(self):
        done = itertools.count(1)
        yield lambda: next(done) >= self.chunks


@pytest.mark.parametrize(("chunks", "saved"), [(1, 3), (2, 4), (3, 7)])
def test_a_run_that_is_asked_to_stop_saves_and_resumes_bit_for_bit(
    chunks, saved, straight, tmp_path
):
    with pytest.raises(Preempted, match="saved step") as stopped:
        train(tmp_path, preemption=AskedAfter(chunks))
    assert stopped.value.step == saved
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.steps()[-1] == saved
    resumed = train(tmp_path, best=True)
    chex.assert_trees_all_equal(resumed.last, straight[0].last)
    assert resumed.step == 8  # never the state saved on a signal
    logged = steps_logged(tmp_path)
    assert logged == sorted(set(logged))
    assert logged[-1] == PLAN.total_steps


def test_a_run_that_breaks_off_resumes_at_its_last_checkpoint(straight, tmp_path):
    def validate(state):
        if state.step == 8:
            raise KeyboardInterrupt
        return {SCORE: 0.5}

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, watch=Watch(validate=validate))
    seen = []
    resumed = train(tmp_path, watch=scores({})._replace(each=lambda step: seen.append(step) or {}))
    chex.assert_trees_all_equal(resumed.last, straight[0].last)
    assert seen == [7, 8, 11, 12]  # from step 4 on, at the steps of the uninterrupted run
    assert steps_logged(tmp_path) == steps_logged(straight[1])


def test_the_best_state_is_the_one_with_the_highest_score(straight, tmp_path):
    chosen = {}

    def validate(state):
        chosen[int(state.step)] = np.array(state.params)
        return {SCORE: {4: 0.9}.get(int(state.step), 0.1)}

    found = train(tmp_path, watch=Watch(validate=validate), keep=1, best=True)
    assert found.step == found.chosen.step == 4
    np.testing.assert_array_equal(found.chosen.params, chosen[4])
    chex.assert_trees_all_equal(found.last, straight[0].last)


@pytest.mark.parametrize(("spoilt", "saved"), [(8, [4]), (12, [4, 8])])
def test_an_update_that_spoils_the_parameters_after_a_finite_loss_is_not_saved(
    tmp_path, spoilt, saved
):
    tx = optax.sgd(lambda count: jnp.where(count == spoilt - 1, jnp.nan, RATE))
    toy = task()._replace(tx=tx, fresh=init_state(jnp.zeros(3), {}, tx))
    mapping = distribute("jit", jax.devices()[:1])
    with pytest.raises(NonFiniteError, match=rf"^step {spoilt}: params = nan; training stopped$"):
        fitted(toy, tmp_path, mapping, watch=scores({}), select=True, quiet=True)
    steps = [int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]
    assert sorted(steps) == saved


@pytest.mark.parametrize("spoilt", [8, 12])
def test_a_spoilt_state_from_elsewhere_is_not_evaluated(spoilt, straight, tmp_path):
    """Of a version that did not look, or of a disk."""
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        for step in (8, 12):
            weights = straight[0].last.params * (np.nan if step == spoilt else 1)
            state = straight[0].last._replace(params=weights, step=jnp.asarray(step))
            checkpoints.save(step, state, {SCORE: -step})
    with pytest.raises(NonFiniteError, match=f"^step {spoilt}: params = nan"):
        train(tmp_path, best=True)


def test_a_run_that_has_ended_is_not_trained_again(straight):
    watch = Watch(validate=lambda state: pytest.fail("trained again"))
    again = train(straight[1], watch=watch)
    chex.assert_trees_all_equal(again.last, straight[0].last)


def test_a_flat_run_is_the_same_but_for_rounding_and_its_checkpoint_a_tree(tmp_path):
    """On two devices, with an average; what one form saves the other resumes."""
    weights = {"w": jnp.ones((3,)), "b": jnp.zeros(())}

    def both(params, stats, key, fixed, index):
        value, rest = loss(params["w"] + params["b"], stats, key, fixed, index)
        return value, rest

    tx = optax.sgd(RATE, momentum=0.9)
    toy = task()._replace(
        loss=both, tx=tx, ema_decay=0.5, fresh=init_state(weights, {}, tx, ema_decay=0.5)
    )
    mapping = distribute("pmap", jax.devices()[:2])
    plain = fitted(toy, tmp_path / "plain", mapping, quiet=True)
    flat = fitted(toy, tmp_path / "flat", mapping, flat=True, quiet=True)
    half = toy._replace(plan=PLAN._replace(total_steps=4))
    fitted(half, tmp_path / "both", mapping, flat=True, quiet=True)
    resumed = fitted(toy, tmp_path / "both", mapping, quiet=True)
    for one in (flat, resumed):
        chex.assert_trees_all_close(one.last, plain.last, rtol=1e-5)
    assert np.abs(flat.last.params["w"] - weights["w"]).min() > 0.01
