"""Schedules and optimisers against formulas written out, and against PyTorch, over twenty steps."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from varmixup_jax.models.norm import BatchNorm
from varmixup_jax.training.optim import make_optimizer, make_schedule

STEPS, PEAK = 20, 0.4


@pytest.fixture(autouse=True, scope="module")
def _optax_promotes():
    """Optax's Adam raises Python numbers to whole powers, which strict promotion refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def cosine(t, rise):
    return PEAK * (1 + math.cos(math.pi * (t - rise) / (STEPS - rise))) / 2


SCHEDULES = {
    # what is asked for, steps of warm-up, learning rate after them
    "constant": ({}, 0, lambda t: PEAK),
    "constant, warm-up": ({"warmup": 0.25}, 5, lambda t: PEAK),
    "cosine": ({}, 0, lambda t: cosine(t, 0)),
    "cosine, warm-up": ({"warmup": 0.2}, 4, lambda t: cosine(t, 4)),
    "onecycle": ({"warmup": 0.3}, 6, lambda t: PEAK * (STEPS - t) / (STEPS - 6)),
    "piecewise": ({}, 0, lambda t: PEAK * 0.1 ** ((t >= 10) + (t >= 15))),
    "piecewise, warm-up": (
        {"warmup": 0.1, "boundaries": (0.3, 0.6), "decay": 0.5},
        2,
        lambda t: PEAK * 0.5 ** ((t >= 6) + (t >= 12)),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_by_hand(name):
    settings, rise, after = SCHEDULES[name]
    schedule = make_schedule(name.split(",")[0], learning_rate=PEAK, total_steps=STEPS, **settings)
    expected = [PEAK * t / rise if t < rise else after(t) for t in range(STEPS)]
    np.testing.assert_allclose(
        [float(schedule(t)) for t in range(STEPS)], expected, rtol=1e-5, atol=1e-7
    )


def torch_rates(make):
    torch = pytest.importorskip("torch", reason="PyTorch is an optional oracle")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("name", "settings", "make"),
    [
        ("cosine", {}, lambda s, o: s.CosineAnnealingLR(o, STEPS)),
        ("piecewise", {}, lambda s, o: s.MultiStepLR(o, [10, 15], 0.1)),
        # PyTorch reaches its peak at step pct_start * total - 1 and its end at total - 1, ours at
        # `rise` and at the number of steps; both start and end at 0.
        (
            "onecycle",
            {"warmup": 0.3},
            lambda s, o: s.OneCycleLR(
                o,
                PEAK,
                total_steps=STEPS + 1,
                pct_start=7 / (STEPS + 1),
                anneal_strategy="linear",
                div_factor=1e9,
                final_div_factor=1e9,
                cycle_momentum=False,
            ),
        ),
    ],
)
def test_schedules_are_pytorchs(name, settings, make):
    schedule = make_schedule(name, learning_rate=PEAK, total_steps=STEPS, **settings)
    np.testing.assert_allclose(
        [float(schedule(t)) for t in range(STEPS)], torch_rates(make), rtol=1e-5, atol=1e-7
    )


WEIGHT = np.array([[1.0, -2.0, 0.5], [3.0, 0.1, -1.0]])
BIAS = np.array([0.7, -0.4])


def rate(t):
    """Another one at every step: an optimiser that is a step off is found out."""
    return 0.02 * (1.5 + math.sin(t))


def slopes(params, t):
    """A gradient that depends on the parameters and on the step."""
    return [np.sin(2 * p + t) + 0.5 * p for p in params]


def run_ours(name, **settings):
    tx = make_optimizer(name, lambda t: 0.02 * (1.5 + jnp.sin(t)), **settings)
    params = {"kernel": jnp.asarray(WEIGHT, jnp.float32), "scale": jnp.asarray(BIAS, jnp.float32)}
    state, update = tx.init(params), jax.jit(tx.update)
    for t in range(STEPS):
        grads = slopes([np.asarray(p, np.float64) for p in params.values()], t)
        grads = dict(zip(params, (jnp.asarray(g, jnp.float32) for g in grads), strict=True))
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return list(params.values())


def run_by_hand(momentum, nesterov, weight_decay, clip_norm):
    params = [WEIGHT, BIAS]
    velocity = [np.zeros_like(p) for p in params]
    for t in range(STEPS):
        grads = slopes(params, t)
        norm = math.sqrt(sum((g**2).sum() for g in grads))
        if clip_norm and norm > clip_norm:
            grads = [g * clip_norm / norm for g in grads]
        grads = [g + weight_decay * p for g, p in zip(grads, params, strict=True)]
        velocity = [momentum * v + g for v, g in zip(velocity, grads, strict=True)]
        if nesterov:
            moves = [g + momentum * v for g, v in zip(grads, velocity, strict=True)]
        else:
            moves = velocity
        params = [p - rate(t) * m for p, m in zip(params, moves, strict=True)]
    return params


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(
    ("momentum", "weight_decay", "clip_norm"),
    [(0.0, 0.0, 0.0), (0.9, 0.0, 0.0), (0.9, 0.05, 0.0), (0.8, 0.05, 1.5)],
)
def test_sgd_by_hand(nesterov, momentum, weight_decay, clip_norm):
    settings = {"momentum": momentum, "weight_decay": weight_decay, "clip_norm": clip_norm}
    expected = run_by_hand(nesterov=nesterov, **settings)
    for ours, theirs in zip(run_ours("sgd", nesterov=nesterov, **settings), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "theirs", "settings", "decay"),
    [
        ("sgd", "SGD", {"momentum": 0.9}, 0.05),
        ("sgd", "SGD", {"momentum": 0.9, "nesterov": True}, 0.05),
        ("adam", "Adam", {}, 0.0),
        ("adam", "Adam", {}, 0.05),
        ("adamw", "AdamW", {}, 0.05),
    ],
)
@pytest.mark.parametrize("clip_norm", [0.0, 1.5])
def test_optimisers_are_pytorchs(name, theirs, settings, decay, clip_norm):
    torch = pytest.importorskip("torch", reason="PyTorch is an optional oracle")
    params = [torch.nn.Parameter(torch.tensor(p)) for p in (WEIGHT, BIAS)]
    optimizer = getattr(torch.optim, theirs)(params, lr=1.0, weight_decay=decay, **settings)
    for t in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate(t)
        for p, g in zip(params, slopes([p.detach().numpy() for p in params], t), strict=True):
            p.grad = torch.tensor(g)
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(params, clip_norm)
        optimizer.step()
    ours = run_ours(name, weight_decay=decay, clip_norm=clip_norm, **settings)
    for mine, p in zip(ours, params, strict=True):
        np.testing.assert_allclose(mine, p.detach().numpy(), rtol=2e-5, atol=2e-6)


def test_batch_norm_statistics_over_several_steps():
    """By hand, and PyTorch's: its running variance is of the unbiased one, n / (n - 1) of ours."""
    torch = pytest.importorskip("torch", reason="PyTorch is an optional oracle")
    batches = np.random.default_rng(0).normal(2.0, 3.0, (6, 4, 3, 5, 2)).astype(np.float32)
    module, count = BatchNorm(use_running_average=False), 4 * 3 * 5
    variables = module.init(jax.random.key(0), batches[0])
    theirs = torch.nn.BatchNorm2d(2, momentum=0.1)
    mean, var, fresh = np.zeros(2), np.ones(2), 1.0
    for batch in batches:
        out, changed = module.apply(variables, batch, mutable=["batch_stats"])
        variables = {**variables, **changed}
        expected = theirs(torch.tensor(batch.transpose(0, 3, 1, 2))).detach().numpy()
        np.testing.assert_allclose(out, expected.transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)
        wide = batch.astype(np.float64)
        mean = 0.9 * mean + 0.1 * wide.mean(axis=(0, 1, 2))
        var = 0.9 * var + 0.1 * wide.var(axis=(0, 1, 2))
        fresh *= 0.9
    stats = variables["batch_stats"]
    np.testing.assert_allclose(stats["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(stats["var"], var, rtol=1e-5)
    np.testing.assert_allclose(theirs.running_mean, mean, rtol=1e-5)
    unbiased = fresh + (var - fresh) * count / (count - 1)
    np.testing.assert_allclose(theirs.running_var, unbiased, rtol=1e-5)
