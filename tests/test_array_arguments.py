"""Arrays that would give a wrong number are refused: integer images and labels, other ranges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varmixup_jax as vj
from varmixup_jax.attacks.apgd import apgd
from varmixup_jax.vicinal.restyle import restyle

KEY_SEED = 0
IMAGE = jnp.full((2, 8, 8, 3), 0.5)
LABEL = jnp.eye(2)
ENV = vj.Env(None, encode=lambda image: image, decode=lambda latent: latent)
BYTES = jnp.zeros((2, 8, 8, 3), jnp.uint8)
NORMALISED = jnp.linspace(-2.0, 2.6, 2 * 8 * 8 * 3).reshape(2, 8, 8, 3)


def key():
    return jax.random.key(KEY_SEED)


def total(image):
    return image.sum(axis=(1, 2, 3))


def sampled(vicinity, image=IMAGE, label=LABEL):
    return vicinity(key(), ENV, vj.Draw(image, label))


VICINITIES = {
    "mix": vj.mix(vj.pixels),
    "latents": vj.mix(vj.latents),
    "chain": vj.chain(vj.mix(vj.pixels), vj.dirac),
    "mix_hidden": vj.mix_hidden((1,)),
    "restyle": restyle(),
}


@pytest.mark.parametrize("name", VICINITIES)
def test_labels_are_rows_and_not_numbers_of_classes(name):
    with pytest.raises(
        TypeError, match=r"^label: dtype is int32, must be floating with rows that sum"
    ):
        sampled(VICINITIES[name], label=jnp.array([0, 1]))


@pytest.mark.parametrize("name", ["mix", "mix_hidden"])
@pytest.mark.parametrize("label", [jnp.array([0.0, 1.0]), jnp.eye(3)], ids=["numbers", "others"])
def test_there_is_a_row_of_labels_for_each_image(name, label):
    """Numbers of classes as floats were interpolated: between class 0 and 9, class 4.5."""
    shape = str(label.shape).replace("(", r"\(").replace(")", r"\)")

    def sample(label):
        return sampled(VICINITIES[name], label=label).label

    for way in (sample, jax.jit(sample)):
        with pytest.raises(ValueError, match=rf"^label: has shape {shape}, must be \[2, classes\]"):
            way(label)
    with pytest.raises(ValueError, match=r"^label: has values from 0 to 9, must lie in \[0, 1\]"):
        sample(jnp.array([[0.0], [9.0]]))


ATTACK = vj.attack(lambda logits, *_: logits, ball=vj.linf(0.1), steps=1, step_size=0.1)


OF_IMAGES = [vicinity for name, vicinity in VICINITIES.items() if name != "mix_hidden"]


@pytest.mark.parametrize("vicinity", [*OF_IMAGES, vj.augmix(), ATTACK])
def test_images_are_floating(vicinity):
    def sample(image):
        return vicinity(key(), ENV._replace(logits=total), vj.Draw(image, LABEL)).image

    for way in (sample, jax.jit(sample)):
        with pytest.raises(
            TypeError, match=r"^image: dtype is uint8, must be floating with pixels"
        ):
            way(BYTES)


ATTACKS = {
    "pgd": functools.partial(vj.pgd, step_size=0.1),
    "apgd": apgd,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_refuse_normalised_images_unless_told_their_bounds(name):
    search = functools.partial(ATTACKS[name], loss=total, ball=vj.linf(0.1), steps=1)
    with pytest.raises(ValueError) as refusal:
        search(key(), NORMALISED)
    assert str(refusal.value) == (
        "image: has values from -2 to 2.6, must lie in [0, 1]; the model does what normalisation it "
        "needs itself"
    )
    assert np.isfinite(search(key(), NORMALISED, bounds=(-2.0, 2.6)).image).all()
    assert np.isfinite(search(key(), NORMALISED, bounds=None).image).all()
    # To the rounding of a decoder or of bfloat16 pixels are pixels.
    assert np.isfinite(search(key(), IMAGE.at[0, 0, 0, 0].set(1.0000002)).image).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_radius_is_a_fraction_and_no_ball(name):
    with pytest.raises(
        ValueError, match=r"^ball: radius = 8: must be <= 1, pixels are in \[0, 1\]"
    ):
        ATTACKS[name](key(), IMAGE, total, ball=vj.linf(8), steps=1)
    with pytest.raises(ValueError, match=r"^ball = 0.03: must be a Ball, such as linf\(8 / 255\)"):
        ATTACKS[name](key(), IMAGE, total, ball=0.03, steps=1)
    with pytest.raises(ValueError, match=r"^ball = 0.03: must be a Ball"):
        vj.attack(total, ball=0.03, steps=1, step_size=0.1)


def test_a_name_is_no_space_and_no_vicinity():
    with pytest.raises(ValueError, match=r"^space = 'latents': must be a Space, such as pixels or"):
        vj.mix("latents")
    with pytest.raises(ValueError, match=r"^chain: 'mix': must be a vicinity"):
        vj.chain(vj.dirac, "mix")


@pytest.mark.parametrize("images", [255 * IMAGE, NORMALISED], ids=["bytes", "normalised"])
def test_corruptions_and_saved_models_take_pixels(images, trained_model):
    from varmixup_jax.corruptions import corrupt

    for function in (
        lambda: corrupt(key(), "contrast", images, severity=1),
        lambda: trained_model.logits(images),
        lambda: trained_model.encode(images),
    ):
        with pytest.raises(
            ValueError, match=r"^images?: has values from .*, must lie in \[0, 1\]; the"
        ):
            function()


def test_a_saved_model_takes_images_of_its_size(trained_model):
    with pytest.raises(ValueError, match=r"^image: has images \[9, 8, 3\], must be \[8, 8, 3\] as"):
        trained_model.logits(jnp.zeros((2, 9, 8, 3)))


@pytest.fixture(scope="module")
def trained_model(tmp_path_factory):
    """A model file of untrained networks, loaded again."""
    from varmixup_jax import models
    from varmixup_jax.models.forward import as_vae
    from varmixup_jax.models.saved import as_arrays

    shape = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    classifier = models.build_classifier(
        "resnet8", num_classes=2, mean=[0.5] * 3, std=[0.25] * 3, width=2
    )
    vae = models.build_vae((8, 8, 3), latent_size=2, width=4, blocks=0)
    variables = models.init(jax.random.key(1), classifier, shape, train=False)
    weights = models.init(jax.random.key(2), vae, shape)["params"]
    path = tmp_path_factory.mktemp("saved") / "model.npz"
    trained = as_vae(vae)._replace(params=weights)
    about = {"vae": trained, "image_shape": (8, 8, 3)}
    arrays = as_arrays(classifier, variables["params"], variables["batch_stats"], **about)
    np.savez(path, **arrays)
    return vj.load_model(path)


def test_confidences_are_fractions_and_not_percentages():
    correct = jnp.array([1.0, 0.0])
    with pytest.raises(ValueError, match=r"^confidence: has values from 42 to 99, must lie in"):
        vj.reliability_bins(jnp.array([99.0, 42.0]), correct)
    with pytest.raises(ValueError, match=r"^correct: has values from 0 to 100, must lie in"):
        vj.reliability_bins(jnp.array([0.99, 0.42]), 100 * correct)
    assert np.isnan(vj.reliability_bins(jnp.array([jnp.nan, 0.42]), correct).confidence).any()


@pytest.mark.parametrize("name", ["mix", "mix_hidden", "noisy_hidden"])
def test_a_draw_passes_jit_in_and_out(name):
    """`tap` was a function, which no jitted function takes or returns."""
    vicinity = vj.chain({**VICINITIES, "noisy_hidden": vj.noisy_hidden((1,))}[name], vj.dirac)

    def hidden(draw):
        return draw.tap(1, draw.image.mean(axis=(1, 2)) + jnp.arange(4.0)[:, None])

    draw = vj.Draw(jnp.full((4, 8, 8, 3), 0.5), jnp.eye(4))
    sampled = jax.jit(lambda key, draw: vicinity(key, ENV, draw))(key(), draw)
    expected = vicinity(key(), ENV, draw)
    np.testing.assert_allclose(jax.jit(hidden)(sampled), hidden(expected), rtol=1e-6)
    np.testing.assert_allclose(sampled.label, expected.label, rtol=1e-6)
    assert (hidden(expected) != hidden(draw)).any() == (name != "mix")  # of equal images


def test_values_under_jit_are_not_looked_at():
    found = jax.jit(
        lambda image: vj.pgd(key(), image, total, ball=vj.linf(0.1), steps=0, step_size=0.1)
    )
    assert np.isfinite(found(NORMALISED).image).all()
