"""What is measured is computed in float32 with full products, whatever training computes in."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

import varmixup_jax as vj
from varmixup_jax import losses, models
from varmixup_jax.config import base_config, freeze
from varmixup_jax.evaluation import programs
from varmixup_jax.models.forward import as_apply, for_measures
from varmixup_jax.models.saved import FILE, as_arrays
from varmixup_jax.runs.setup import prepare

SHAPE, CLASSES = (8, 8, 1), 3
IMAGE = np.random.default_rng(0).uniform(size=(2, *SHAPE)).astype(np.float32)
LABEL = np.eye(CLASSES, dtype=np.float32)[:2]
HIGHEST = (jax.lax.Precision.HIGHEST,) * 2
FULL = {(jnp.dtype(jnp.float32), HIGHEST)}


def products(fn, *arguments):
    """(dtype, precision) of every convolution and matrix product that `fn` performs."""
    found = set()

    def walk(jaxpr):
        for equation in jaxpr.eqns:
            if equation.primitive.name in ("conv_general_dilated", "dot_general"):
                dtypes = {v.aval.dtype for v in (*equation.invars, *equation.outvars)}
                found.update((dtype, equation.params["precision"]) for dtype in dtypes)
            for inner in jaxprs_in_params(equation.params):
                walk(inner)

    walk(jax.make_jaxpr(fn)(*arguments).jaxpr)
    assert found
    return found


@pytest.fixture(scope="module")
def trained():
    """A classifier that trains in bfloat16, and its variables."""
    module = models.build_classifier(
        "resnet8", num_classes=CLASSES, mean=(0.5,), std=(0.25,), width=4, dtype="bfloat16"
    )
    variables = models.init(jax.random.key(1), module, IMAGE, train=False)
    return module, (variables["params"], variables["batch_stats"])


def logits_of(module):
    apply = as_apply(module)
    return lambda variables, image: apply(*variables, image)[0]


BATCH = (IMAGE, LABEL)
ONE = {"eps": 0.1, "steps": 1, "restarts": 1}
MEASURES = {
    "logits": lambda key, **model: model["logits_fn"](model["variables"], IMAGE),
    "pgd": lambda key, **model: programs.pgd(key, *BATCH, **model, **ONE, step_size=0.1),
    "apgd": lambda key, **model: programs.apgd(key, *BATCH, **model, **ONE, losses=("ce",)),
    "linearity": lambda key, **model: programs.linearity(
        key, *BATCH, **model, **ONE, relative_step=0.5
    ),
}


@pytest.mark.parametrize(
    ("measure", "backend"),
    [*((name, "cpu") for name in MEASURES), ("pgd", "gpu")],  # gradients are written differently
)
def test_every_product_of_a_measure_is_full(trained, measure, backend, key, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    module, variables = trained
    logits = logits_of(for_measures(module))

    def found(key, variables):
        return MEASURES[measure](key, logits_fn=logits, variables=variables)

    assert products(found, key, variables) == FULL


def test_an_attack_in_training_has_its_loss_and_gradient_in_float32(trained, key):
    """The network in between stays what is trained."""
    module, variables = trained
    seen = []

    def loss(image):
        seen.append(image.dtype)
        return losses.cross_entropy(logits_of(module)(variables, image), LABEL)

    value, grad = jax.eval_shape(jax.value_and_grad(lambda image: loss(image).sum()), IMAGE)
    attack = partial(vj.pgd, image=IMAGE, loss=loss, ball=vj.linf(0.1), steps=1, step_size=0.1)
    found = jax.eval_shape(attack, key)
    assert {value.dtype, grad.dtype, found.image.dtype, found.loss.dtype, *seen} == {
        jnp.dtype(jnp.float32)
    }


def test_a_loaded_model_computes_as_it_was_measured(trained, tmp_path):
    module, variables = trained
    np.savez(tmp_path / FILE, **as_arrays(module, *variables))
    model = vj.load_model(tmp_path)
    assert model.about["classifier"]["dtype"] == "bfloat16"
    assert products(model.logits, IMAGE) == FULL


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    """What a run in bfloat16 is made of."""
    config, file = base_config(), tmp_path_factory.mktemp("data") / "toy.npz"
    config.data.source = f"npz:{file}"
    config.model.name, config.model.width, config.model.dtype = "resnet8", 4, "bfloat16"
    config.method, config.batch_size, config.data.val_fraction = "erm", 8, 0.0
    labels = (np.arange(16) % CLASSES).astype(np.int32)
    images = np.random.default_rng(1).integers(0, 256, (16, *SHAPE), np.uint8)
    np.savez(file, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return prepare(freeze(config))


def test_a_run_in_bfloat16_trains_in_it_and_is_measured_in_float32(setup, trained):
    _, variables = trained
    assert products(setup.logits, variables, IMAGE) == FULL
    for trains in (
        setup.validation_logits,
        lambda pair, image: setup.apply(*pair, image, train=True)[0],
    ):
        assert jnp.dtype(jnp.bfloat16) in {dtype for dtype, _ in products(trains, variables, IMAGE)}


def test_measures_are_in_evaluation_mode(setup, trained):
    """An example does not see its batch; the running statistics count."""
    _, (params, stats) = trained
    logits = jax.jit(setup.logits)
    found = logits((params, stats), IMAGE)
    mates = logits((params, stats), np.stack([IMAGE[0], 1 - IMAGE[1]]))
    np.testing.assert_allclose(mates[0], found[0], rtol=1e-5, atol=1e-6)
    other = logits((params, jax.tree.map(lambda s: s + 0.5, stats)), IMAGE)
    assert np.abs(other - found).min() > 1e-4
