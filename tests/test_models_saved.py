"""A model file gives back the very functions that were saved, and refuses everything else."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varmixup_jax as vj
from varmixup_jax import models
from varmixup_jax.models.forward import as_apply, as_vae
from varmixup_jax.models.saved import FILE, _module, as_arrays, load_model

SHAPE = (8, 8, 3)
IMAGE = jax.ShapeDtypeStruct((1, *SHAPE), jnp.float32)


@functools.cache
def built(name, with_vae, dtype):
    """A network of one block and a small VAE, with random variables; and the content of a file."""
    module = models.build_classifier(
        name, num_classes=4, mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3), width=4, dtype=dtype
    ).clone(blocks=(1,))
    variables = models.init(jax.random.key(0), module, IMAGE, train=False)
    params, stats = variables["params"], jax.tree.map(lambda s: s + 0.5, variables["batch_stats"])
    vae = None
    if with_vae:
        network = models.build_vae(SHAPE, latent_size=2, width=4, blocks=0)
        vae_params = models.init(jax.random.key(1), network, IMAGE)["params"]
        vae = as_vae(network)._replace(params=vae_params, info={"key": "toy"})
    arrays = as_arrays(module, params, stats, vae=vae, run="toy", label_names=("a", "b"))
    return module, params, stats, vae, arrays


def saved(place, name="resnet8", with_vae=False, dtype="float32"):
    """Such a file in `place`, and what it was made of."""
    *parts, arrays = built(name, with_vae, dtype)
    np.savez(place / FILE, **arrays)
    return parts


def image():
    return jax.random.uniform(jax.random.key(2), (3, *SHAPE))


@pytest.mark.parametrize(
    ("name", "dtype"), [("resnet8", "bfloat16"), ("preact_resnet8", "float32")]
)
def test_the_logits_are_those_of_the_network_that_was_saved_in_float32(name, dtype, tmp_path):
    module, params, stats, _ = saved(tmp_path, name, dtype=dtype)
    apply = jax.jit(functools.partial(as_apply(module.clone(dtype="float32")), train=False))
    model = vj.load_model(tmp_path)
    found = jax.jit(model.logits)(image())
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, apply(params, stats, image())[0], rtol=1e-5, atol=1e-6)
    assert (model.encode, model.decode, model.vae) == (None, None, None)
    assert model.about["run"] == "toy"
    assert model.about["label_names"] == ["a", "b"]


@pytest.mark.parametrize("name", sorted(models.CLASSIFIERS))
def test_every_classifier_is_built_again(name):
    module = models.build_classifier(name, num_classes=4, mean=(0.4,), std=(0.2,), width=4)
    fields = json.loads(str(as_arrays(module, {}, {})["about"]))["classifier"]
    assert _module(fields) == module


def test_the_vae_comes_along(tmp_path):
    *_, vae = saved(tmp_path, with_vae=True)
    model = load_model(tmp_path / FILE)
    assert (model.vae.network, model.vae.info) == (vae.network, {"key": "toy"})

    @jax.jit
    def both(params, image):
        mean = vae.encode(params, image)[0]
        return (mean, vae.decode(params, mean)), (model.encode(image), model.decode(mean))

    for expected, found in zip(*both(vae.params, image()), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


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
        match=r"model\.npz: (array \S+: )?(is not a model file \(.+\)|holds Python objects .+)$",
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
