"""A model file gives back the very functions that were saved, and refuses everything else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varmixup_jax as vj
from varmixup_jax import models
from varmixup_jax.models.forward import as_apply, as_vae
from varmixup_jax.models.saved import FILE, as_arrays, load_model

SHAPE = (8, 8, 3)
IMAGE = jax.ShapeDtypeStruct((1, *SHAPE), jnp.float32)


def saved(place, name="resnet8", with_vae=False, dtype="float32"):
    """A small network with random variables, written to `place`."""
    module = models.build_classifier(
        name, num_classes=4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3), width=4, dtype=dtype
    )
    variables = models.init(jax.random.key(0), module, IMAGE, train=False)
    params, stats = variables["params"], jax.tree.map(lambda s: s + 0.5, variables["batch_stats"])
    vae = None
    if with_vae:
        network = models.build_vae(SHAPE, latent_size=2, width=4, blocks=1)
        vae_params = models.init(jax.random.key(1), network, IMAGE)["params"]
        vae = as_vae(network)._replace(params=vae_params, info={"key": "toy"})
    arrays = as_arrays(module, params, stats, vae=vae, run="toy", label_names=("a", "b"))
    np.savez(place / FILE, **arrays)
    return module, params, stats, vae


@pytest.mark.parametrize("name", ["resnet8", "preact_resnet8", "wrn10_1"])
def test_the_logits_are_those_of_the_network_that_was_saved(name, tmp_path):
    module, params, stats, *_ = saved(tmp_path, name)
    image = jax.random.uniform(jax.random.key(2), (3, *SHAPE))
    expected = as_apply(module)(params, stats, image, train=False)[0]
    model = vj.load_model(tmp_path)
    np.testing.assert_array_equal(model.logits(image), expected)
    np.testing.assert_allclose(jax.jit(model.logits)(image), expected, rtol=1e-5, atol=1e-6)
    assert (model.encode, model.decode, model.vae) == (None, None, None)
    assert model.about["run"] == "toy"
    assert model.about["label_names"] == ["a", "b"]


def test_the_vae_comes_along(tmp_path):
    *_, vae = saved(tmp_path, with_vae=True)
    image = jax.random.uniform(jax.random.key(2), (3, *SHAPE))
    mean = vae.encode(vae.params, image)[0]
    model = load_model(tmp_path / FILE)
    np.testing.assert_array_equal(model.encode(image), mean)
    np.testing.assert_array_equal(model.decode(mean), vae.decode(vae.params, mean))
    assert (model.vae.network, model.vae.info) == (vae.network, {"key": "toy"})


def test_a_network_that_trained_in_bfloat16_computes_in_float32(tmp_path):
    module, params, stats, *_ = saved(tmp_path, dtype="bfloat16")
    image = jax.random.uniform(jax.random.key(2), (3, *SHAPE))
    expected = as_apply(module.clone(dtype="float32"))(params, stats, image, train=False)[0]
    found = load_model(tmp_path).logits(image)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, expected)


def test_the_arrays_are_named_as_in_flax(tmp_path):
    saved(tmp_path)
    with np.load(tmp_path / FILE, allow_pickle=False) as arrays:
        assert arrays["params/stem/kernel"].shape == (3, 3, 3, 4)
        assert arrays["stats/stem_norm/mean"].dtype == np.float32


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def flip(path):
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 3, len(content) // 3 + 64):
        content[at] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        cut,
        flip,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no archive"),
        lambda path: np.savez(path, x_train=np.zeros(3)),
        lambda path: np.savez(path, about=np.array(["a", None], object)),
        lambda path: np.savez(path, about=np.array('{"classifier": {"class": "os"}, "vae": null}')),
        lambda path: np.savez(path, about=np.array("not json")),
    ],
)
def test_what_is_no_model_file_is_refused_in_one_line(spoil, tmp_path):
    saved(tmp_path)
    spoil(tmp_path / FILE)
    with pytest.raises(
        ValueError,
        match=r"model\.npz: (array \S+: )?(is no model file \(.+\)|holds Python objects .+)$",
    ) as refused:
        load_model(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"model\.npz: no such file, must be the model\.npz of"):
        load_model(tmp_path)


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path):
    saved(tmp_path)
    with np.load(tmp_path / FILE) as file:
        arrays = dict(file)
    arrays["params/stem/kernel"][0, 0, 0, 0] = np.nan
    np.savez(tmp_path / FILE, **arrays)
    with pytest.raises(
        ValueError, match=r"model\.npz: params/stem/kernel has values .* not finite"
    ):
        load_model(tmp_path)
