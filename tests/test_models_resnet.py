"""Classifiers: sizes known from the literature, the tap, normalisation inside, BatchNorm, dtypes."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from varmixup_jax import models
from varmixup_jax.models.norm import BatchNorm

FIELDS = {"num_classes": 10, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3)}
IMAGE = np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype(np.float32)


@functools.cache
def _built(name, **fields):
    module = models.build_classifier(name, **{**FIELDS, **fields}, width=4)
    return module, models.init(jax.random.key(0), module, IMAGE)


@functools.cache
def _evaluate(name):
    module, _ = _built(name)
    return jax.jit(module.apply)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet18", 11_173_962),
        ("resnet34", 21_282_122),
        ("preact_resnet18", 11_171_146),
        ("wrn28_4", 5_849_050),
        ("wrn28_10", 36_479_194),
        ("wrn40_2", 2_243_546),
    ],
)
def test_parameter_counts_are_those_of_the_literature(name, count):
    module = models.build_classifier(name, **FIELDS)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(module.init, jax.random.key(0), image)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count


@pytest.mark.parametrize("name", sorted(models.CLASSIFIERS))
def test_every_classifier_maps_images_to_float32_logits_and_taps_each_stage(name):
    module = models.build_classifier(name, **FIELDS, width=2)
    image = jax.ShapeDtypeStruct((5, 32, 32, 3), jnp.float32)
    seen = []

    def tap(stage, hidden):
        seen.append((stage, hidden.shape))
        return hidden

    def run(key, image):
        variables = module.init(key, image)
        return module.apply(variables, image, train=True, tap=tap, mutable=["batch_stats"])

    logits, changes = jax.eval_shape(run, jax.random.key(0), image)
    assert (logits.shape, logits.dtype) == ((5, 10), jnp.float32)
    assert set(changes) == {"batch_stats"}
    sizes = [(5, 32 >> k, 32 >> k, 2 << k) for k in range(module.num_stages)]
    assert seen == list(enumerate([(5, 32, 32, 3), *sizes]))


def test_each_tap_changes_the_logits():
    module, variables = _built("preact_resnet8")

    @jax.jit
    def reversed_at(stage, variables):
        def tap(k, hidden):
            return jnp.where(k == stage, hidden[::-1], hidden)

        return module.apply(variables, IMAGE, tap=tap)

    plain = reversed_at(-1, variables)
    for stage in range(4):
        mixed = reversed_at(stage, variables)
        np.testing.assert_allclose(mixed, plain[::-1], rtol=1e-5, atol=1e-5)
        assert np.abs(mixed - plain).max() > 1e-3


def test_stage_zero_taps_the_pixels_before_they_are_normalised():
    module, variables = _built("resnet8")
    out = jax.jit(functools.partial(module.apply, tap=lambda k, h: 0.5 * h if k == 0 else h))
    expected = _evaluate("resnet8")(variables, 0.5 * IMAGE)
    np.testing.assert_allclose(out(variables, IMAGE), expected, rtol=1e-5, atol=1e-5)


def test_in_evaluation_an_example_does_not_see_its_batch_mates():
    _, variables = _built("resnet8")
    logits = _evaluate("resnet8")(variables, IMAGE)
    other = _evaluate("resnet8")(variables, np.concatenate([IMAGE[:1], 1.0 - IMAGE[1:]]))
    np.testing.assert_allclose(logits[0], other[0], rtol=1e-6, atol=1e-6)
    assert np.abs(logits[1:] - other[1:]).max() > 1e-3


def test_bfloat16_computes_in_bfloat16_and_keeps_the_rest_in_float32():
    module, variables = _built("resnet8", dtype="bfloat16")
    seen = []

    def tap(stage, hidden):
        seen.append(hidden.dtype)
        return hidden

    train = functools.partial(module.apply, train=True, mutable=["batch_stats"], tap=tap)
    logits, changes = jax.jit(train)(variables, IMAGE)
    assert seen == [jnp.float32] + [jnp.bfloat16] * 3
    leaves = jax.tree.leaves((variables, changes, logits))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}
    exact, _ = jax.jit(
        functools.partial(_built("resnet8")[0].apply, train=True, mutable=["batch_stats"])
    )(variables, IMAGE)
    np.testing.assert_allclose(logits, exact, atol=0.1)
    assert np.abs(logits - exact).max() > 1e-6


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_batch_norm_is_flax_batch_norm_and_so_is_its_gradient(train, offset):
    rng = np.random.default_rng(1)
    hidden, cotangent = (rng.normal(size=(6, 5, 4, 3)).astype(np.float32) for _ in range(2))
    hidden += offset
    variables = {
        "params": {"scale": jnp.array([0.5, 1.0, 2.0]), "bias": jnp.array([0.1, 0.0, -1.0])},
        "batch_stats": {"mean": jnp.array([0.3, 0.0, -1.0]), "var": jnp.array([1.0, 2.0, 0.5])},
    }
    theirs = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5)
    ours = BatchNorm(use_running_average=not train)

    @functools.partial(jax.jit, static_argnums=0)
    def run(module, variables, hidden):
        def out(params, hidden):
            tree = {**variables, "params": params}
            return module.apply(tree, hidden, mutable=["batch_stats"])

        value, pullback, changes = jax.vjp(out, variables["params"], hidden, has_aux=True)
        return value, changes, pullback(cotangent)

    for a, b in zip(
        jax.tree.leaves(run(ours, variables, hidden)),
        jax.tree.leaves(run(theirs, variables, hidden)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ratio", [0.0, 10.0, 100.0, 1000.0])
def test_batch_statistics_survive_a_mean_far_above_the_deviation(ratio):
    """After a hundred batches; float64 is the truth. About zero, the variance loses 1e-3 at 100."""
    rng = np.random.default_rng(3)
    deviation = np.array([0.5, 1.0, 2.0])
    far = ratio * np.array([1, -1, 1])
    hidden = ((rng.normal(size=(40, 8, 8, 3)) + far) * deviation).astype(np.float32)
    scale = np.float32([1.5, 1.0, -0.5])
    exact = hidden.astype(np.float64)
    mean, var = exact.mean(axis=(0, 1, 2)), exact.var(axis=(0, 1, 2))
    cotangent = rng.normal(size=hidden.shape)
    module = BatchNorm(use_running_average=False)

    @jax.jit
    def step(stats, hidden):
        def out(params, hidden):
            return module.apply(
                {"params": params, "batch_stats": stats}, hidden, mutable=["batch_stats"]
            )

        params = {"scale": jnp.asarray(scale), "bias": jnp.ones(3)}
        value, pullback, new = jax.vjp(out, params, hidden, has_aux=True)
        return value, new["batch_stats"], pullback(jnp.asarray(cotangent, jnp.float32))

    stats = {"mean": jnp.zeros(3), "var": jnp.ones(3)}
    for _ in range(100):
        value, stats, (params_gradient, gradient) = step(stats, hidden)
    n = (exact - mean) / np.sqrt(var + 1e-5)
    count = n.size // 3
    bias_gradient = cotangent.sum(axis=(0, 1, 2))
    scale_gradient = (cotangent * n).sum(axis=(0, 1, 2))
    expected = (scale / np.sqrt(var + 1e-5)) * (
        cotangent - bias_gradient / count - n * scale_gradient / count
    )
    rounding = 1e-6 * max(1.0, ratio)  # of x itself, in deviations
    np.testing.assert_allclose(stats["mean"], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(stats["var"], var + (1 - var) * 0.9**100, rtol=2e-5)
    np.testing.assert_allclose(value, scale * n + 1, atol=5e-6 + rounding)
    np.testing.assert_allclose(gradient, expected, atol=1e-5 + 3 * rounding)
    np.testing.assert_allclose(params_gradient["scale"], scale_gradient, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(params_gradient["bias"], bias_gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "resnet19"}, r"name = 'resnet19': .*did you mean resnet18"),
        ({"num_classes": 1}, "num_classes = 1: must be a whole number >= 2"),
        ({"width": 0}, "width = 0: must be a whole number >= 1"),
        ({"dtype": "float16"}, "dtype = 'float16': must be one of float32, bfloat16"),
        ({"std": (0.2, 0.2)}, "std: has 2 channels, must have as many as mean, 3"),
        ({"std": (0.2, 0.0, 0.2)}, "std = 0.0: must be > 0"),
        ({"mean": (0.5, 128.0, 0.5)}, r"mean = 128.0: must lie in \[0.0, 1.0\]"),
    ],
)
def test_refusals(fields, message):
    with pytest.raises(ValueError, match=message):
        models.build_classifier(**{"name": "resnet8", **FIELDS, **fields})


def test_an_image_with_other_channels_is_refused():
    module, variables = _built("resnet8")
    with pytest.raises(ValueError, match="image: has 1 channels, must have 3"):
        module.apply(variables, IMAGE[..., :1])
