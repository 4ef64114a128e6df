"""Refusals, chunks, resumption, mappings, checkpoints."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from varmixup_jax.methods import paper_methods
from varmixup_jax.training import loop, optim
from varmixup_jax.training.checkpoints import Checkpoints
from varmixup_jax.training.parallel import distribute
from varmixup_jax.training.step import evaluated, init_state, make_run, make_step


def quiet_hooks(seen=None):
    seen = {} if seen is None else seen
    return loop.Hooks(
        lambda step, means, _: seen.setdefault("steps", []).append((step, means["loss"])),
        lambda step, state: seen.setdefault("evals", []).append(step),
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optim.make_schedule("cosin", learning_rate=1, total_steps=1), "did you mean"),
        (lambda: optim.make_schedule("cosine", learning_rate=0, total_steps=1), "learning_rate"),
        (
            lambda: optim.make_schedule("cosine", learning_rate=1, total_steps=1, warmup=1.0),
            "warmup",
        ),
        (lambda: optim.make_optimizer("sdg", lambda s: 1.0), "did you mean sgd"),
        (
            lambda: loop.make_plan(
                examples=5, batch_size=6, epochs=1, steps_per_call=1, eval_epochs=1
            ),
            "batch_size = 6",
        ),
        (lambda: distribute("pmapp"), "via = 'pmapp'"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def toy_plan(steps, per_call, eval_every=None):
    return loop.Plan(toy.EXAMPLES, toy.BATCH, steps, per_call, eval_every or steps)


def train(run, state, fixed, mapping, plan, start=0, hooks=None):
    return loop.fit(
        run,
        state,
        fixed,
        plan,
        start=start,
        key=jax.random.key(11),
        data_seed=0,
        mapping=mapping,
        hooks=hooks or quiet_hooks(),
    )


def noisy(params, stats, key, fixed, index):
    """The distance to the batch's mean and a draw; the statistic follows."""
    target = jnp.mean(fixed["x"][index]) + jax.random.normal(key)
    stats = 0.9 * stats + 0.1 * target
    return jnp.sum(jnp.square(params["w"] - target)), (stats, {"accuracy": target})


def test_chunks_resume_and_checkpoints_give_the_same_bits(tmp_path):
    """Straight, in chunks of another size, and stopped and restored in between: equal bits."""
    mapping, tx = distribute("jit", jax.devices()[:1]), optax.sgd(0.1, momentum=0.9)
    run = mapping.compile(make_run(make_step(noisy, tx, ema_decay=0.9)))
    fixed = mapping.replicate({"x": np.arange(toy.EXAMPLES, dtype=np.float32)})

    def fresh():
        state = init_state({"w": jnp.ones(3)}, jnp.zeros(()), tx, ema_decay=0.9)
        return mapping.replicate(state)

    straight = train(run, fresh(), fixed, mapping, toy_plan(6, 3))
    seen = {}
    half = train(run, fresh(), fixed, mapping, toy_plan(4, 3, 2), hooks=quiet_hooks(seen))
    assert seen["evals"] == [2, 4]
    with Checkpoints(tmp_path / "c", keep=1, best=False) as checkpoints:
        checkpoints.save(4, mapping.collect(half))
        checkpoints.wait()
        restored = checkpoints.restore_latest(mapping.collect(fresh()))
    assert int(restored.step) == 4
    resumed = train(run, mapping.replicate(restored), fixed, mapping, toy_plan(6, 3), start=4)
    chex.assert_trees_all_equal(straight, resumed)
    assert not np.allclose(evaluated(straight)[0]["w"], straight.params["w"])


def test_one_compilation_serves_all_chunks():
    mapping = distribute("jit", jax.devices()[:1])
    tx = optax.sgd(0.1)

    @chex.assert_max_traces(n=3)  # eval_shape for the metrics, the loop body, its gradient
    def loss(params, stats, key, fixed, index):
        x = fixed["x"][index]
        return jnp.mean(jnp.square(params - x)), (stats, {"accuracy": jnp.zeros(())})

    run = mapping.compile(make_run(make_step(loss, tx)))
    state = mapping.replicate(init_state(jnp.zeros(()), {}, tx))
    fixed = mapping.replicate({"x": np.arange(toy.EXAMPLES, dtype=np.float32)})
    train(run, state, fixed, mapping, toy_plan(7, 3))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_loss_stops_with_its_step(bad):
    mapping = distribute("jit", jax.devices()[:1])
    tx = optax.sgd(0.1)

    def loss(params, stats, key, fixed, index):
        return params * fixed["x"][index[0]], (stats, {"accuracy": jnp.zeros(())})

    plan = toy_plan(4, 4)
    where = int(loop.data_order(plan, 0, 2, 3)[0, 0])
    x = np.zeros(toy.EXAMPLES, np.float32)
    x[where] = bad
    run = mapping.compile(make_run(make_step(loss, tx)))
    state = mapping.replicate(init_state(jnp.ones(()), {}, tx))
    seen = {}
    with pytest.raises(loop.NonFiniteError, match=r"step 3: loss = (nan|inf)") as error:
        train(run, state, mapping.replicate({"x": x}), mapping, plan, hooks=quiet_hooks(seen))
    assert error.value.step == 3
    assert "evals" not in seen


def test_jit_gives_the_same_numbers_on_one_and_eight_devices():
    states = []
    for count in (1, 8):
        mapping = distribute("jit", jax.devices()[:count])
        run, state, fixed = toy.make("varmixup", mapping)
        order = mapping.shard_order(toy.order(2))
        state, _ = run(state, fixed, order, np.int32(2), jax.random.key(3))
        states.append(jax.tree.map(np.asarray, mapping.collect(state)))
    chex.assert_trees_all_close(states[0].params, states[1].params, atol=1e-5)
    chex.assert_trees_all_close(states[0].stats, states[1].stats, atol=1e-5)


# The mapping knows no method, and none holds more than latents, mixing and this one's attack.
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=() if method == "iat" else pytest.mark.slow)
        for method in (*paper_methods(), "noisymix")
    ],
)
def test_pmap_runs_every_method_on_eight_devices(method):
    mapping = distribute("pmap", jax.devices()[:8])
    run, state, fixed = toy.make(method, mapping)
    before = jax.tree.map(np.array, mapping.collect(state).params)
    order = mapping.shard_order(toy.order(2))
    state, metrics = run(state, fixed, order, np.int32(2), jax.random.key(3))
    assert np.isfinite(metrics["loss"]).all()
    for leaf in jax.tree.leaves(state):
        np.testing.assert_array_equal(leaf[0], leaf[-1])  # devices stay in step
    with pytest.raises(AssertionError):
        chex.assert_trees_all_close(before, mapping.collect(state).params)
