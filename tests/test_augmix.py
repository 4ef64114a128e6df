"""The operations beside Pillow's, and the statistics and guarantees of the vicinity."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps

from varmixup_jax.types import Draw, Env
from varmixup_jax.vicinal import augmix, augmix_operations

ENV = Env(logits=None)
COMPILED = {
    name: jax.jit(getattr(augmix_operations, name))
    for name in augmix_operations.BRANCHES
    if name != "identity"
}
PLAN_OF = jax.jit(augmix.plan_of, static_argnums=(2, 3))
DRAW_PLAN = jax.jit(augmix.draw_plan, static_argnums=(1, 2, 3))


def image(shape, seed=0, low=0, high=256):
    """uint8; smooth plus noise, so that channels have unlike histograms."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(low, high - 1, shape[1])[None, :, None]
    return np.clip(ramp + rng.normal(0, 20, shape), low, high - 1).astype(np.uint8)


def pillow(array):
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def levels(array, shape):
    return np.asarray(array, np.int32).reshape(shape)


def ours(name, array, *arguments):
    pixels = jnp.asarray(array, jnp.float32) / 255
    return np.asarray(COMPILED[name](pixels, *arguments)) * 255


SHAPES = [(32, 32, 3), (24, 40, 1), (8, 8, 1)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_tone_agrees_with_pillow_on_the_grid(shape):
    array = image(shape, low=17, high=230)
    for name, arguments, theirs in [
        ("equalize", (), ImageOps.equalize),
        *[("posterize", (b,), lambda i, b=b: ImageOps.posterize(i, b)) for b in (1, 3, 4, 8)],
        *[("solarize", (t,), lambda i, t=t: ImageOps.solarize(i, t)) for t in (0, 100, 180, 256)],
    ]:
        got = ours(name, array, *(jnp.int32(a) for a in arguments))
        expected = levels(theirs(pillow(array)), shape)
        np.testing.assert_allclose(got, expected, atol=1e-3, err_msg=f"{name} {arguments}")


@pytest.mark.parametrize("seed", range(3))
def test_autocontrast_is_exact_and_pillows_but_for_its_rounding(seed):
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.choice(256, 2, replace=False))
    array = rng.integers(low, high + 1, (32, 32, 3)).astype(np.uint8)
    array[:2, 0] = np.array([[low], [high]])
    got = np.round(ours("autocontrast", array)).astype(int)
    scaled, span = 255 * (array.astype(int) - low), high - low
    np.testing.assert_array_equal(got, scaled // span)
    theirs = levels(ImageOps.autocontrast(pillow(array)), array.shape)
    whole = scaled % span == 0  # where floating point may fall just short
    np.testing.assert_array_equal(got[~whole], theirs[~whole])
    assert set(np.unique(got - theirs)) <= {0, 1}


def test_a_flat_channel_is_kept():
    flat = np.full((32, 32, 3), 77, np.uint8)
    for name in ("autocontrast", "equalize"):
        np.testing.assert_allclose(ours(name, flat), 77, atol=1e-4)


GEOMETRY = [
    ("rotate", 30 * 0.55, lambda i, v: i.rotate(int(v), Image.Resampling.BILINEAR)),
    ("shear_x", 0.3 * 0.55, (1, "v", 0, 0, 1, 0)),
    ("shear_y", 0.3 * 0.55, (1, 0, 0, "v", 1, 0)),
    ("translate_x", None, (1, 0, "v", 0, 1, 0)),
    ("translate_y", None, (1, 0, 0, 0, 1, "v")),
]


@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("name", "value", "theirs"), GEOMETRY, ids=[g[0] for g in GEOMETRY])
def test_geometry_agrees_with_pillow_to_a_grey_level(shape, sign, name, value, theirs):
    array = image(shape, seed=1)
    if value is None:
        value = int(0.55 * shape[name == "translate_x"] / 3)
    if isinstance(theirs, tuple):
        matrix = tuple(sign * value if v == "v" else v for v in theirs)
        size, affine = (shape[1], shape[0]), Image.Transform.AFFINE
        out = pillow(array).transform(size, affine, matrix, Image.Resampling.BILINEAR)
    else:
        out = theirs(pillow(array), sign * value)
    operation = jnp.int32(augmix.OPERATIONS.index(name))
    plan = PLAN_OF(operation, jnp.float32(sign * 5.5), *shape[:2])
    got = ours("warp", array, plan.matrix)
    assert int(plan.branch) == augmix_operations.BRANCHES.index("warp")
    # Pillow truncates to grey levels; float32 may put a border pixel on the other side.
    off = np.abs(got - levels(out, shape) - 0.5) > 0.51
    assert off.mean() < 0.002
    assert (levels(out, shape) == 0).any()  # what came from outside is black


def test_strengths_are_the_papers():
    names = jnp.array([augmix.OPERATIONS.index(n) for n in ("posterize", "solarize")])
    for strength, bits, threshold in [(0.1, 4, 254), (2.6, 3, 190), (10.0, 0, 0)]:
        level = PLAN_OF(names, jnp.full(2, strength), 32, 32).level
        assert level.tolist() == [bits, threshold]
    move = jnp.int32(augmix.OPERATIONS.index("translate_x"))
    assert float(PLAN_OF(move, jnp.float32(-3.0), 32, 32).matrix[2]) == -3.0
    assert float(PLAN_OF(move, jnp.float32(0.9), 32, 32).matrix[2]) == 0.0


def test_plans_are_uniform_over_operations_lengths_and_strengths():
    plan = DRAW_PLAN(jax.random.key(0), (4000, 3, 3), 3.0, (32, 32))
    branch = np.asarray(plan.branch).reshape(-1, 3)
    lengths = np.bincount((branch > 0).sum(axis=1), minlength=4) / len(branch)
    np.testing.assert_allclose(lengths, [0, 1 / 3, 1 / 3, 1 / 3], atol=0.02)
    assert (np.diff((branch > 0).astype(int), axis=1) <= 0).all()  # a chain runs, then rests
    share = np.bincount(branch[branch > 0], minlength=6)[1:] / (branch > 0).sum()
    np.testing.assert_allclose(share, [1 / 9] * 4 + [5 / 9], atol=0.02)
    threshold = np.asarray(plan.level)[np.asarray(plan.branch) == 4]
    # 256 - int(25.6 u), u uniform in [0.1, 3].
    assert abs(threshold.mean() - (256 - 25.6 * 1.55 + 0.5)) < 1.0
    assert (threshold.min(), threshold.max()) == (180, 254)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_weights_are_dirichlet_and_amounts_beta(alpha):
    weights, amount = augmix.draw_amounts(jax.random.key(3), 20_000, 3, alpha)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 3, atol=0.01)
    of_weight = (1 / 3) * (2 / 3) / (3 * alpha + 1)
    of_amount = 1 / (4 * (2 * alpha + 1))
    for drawn, variance in ((weights, of_weight), (amount, of_amount)):
        ratio = float(np.asarray(drawn).var(axis=0).mean() / variance)
        assert abs(ratio - 1) < 0.05
        for wrong in (2 / 3, 3 / 2):
            assert abs(ratio / wrong - 1) > 0.2
    pairs = np.corrcoef(np.column_stack([weights, amount]).T)
    assert abs(pairs[3, :3]).max() < 0.03  # independent of one another
    assert abs(pairs[0, 1] + 0.5) < 0.03


@jax.jit
def sample(key, pixels):
    return augmix.augmix()(key, ENV, Draw(pixels, jnp.eye(len(pixels)))).image


def test_equal_images_get_operations_of_their_own_within_the_pixels():
    image = jax.random.uniform(jax.random.key(7), (1, 12, 10, 3))
    out = np.asarray(sample(jax.random.key(1), jnp.repeat(image, 6, axis=0)))
    assert (out.shape, out.dtype) == ((6, 12, 10, 3), np.float32)
    assert 0 <= out.min() <= out.max() <= 1
    assert (np.abs(out - image).mean(axis=(1, 2, 3)) > 1e-4).all()
    assert len({row.tobytes() for row in out}) == 6


def test_all_at_once_gives_what_one_after_the_other_gives(monkeypatch):
    pixels = jax.random.uniform(jax.random.key(7), (7, 16, 16, 1))
    plan = DRAW_PLAN(jax.random.key(2), (7, 2, 3), 8.0, (16, 16))
    looped = augmix.run_chains(pixels, plan)
    monkeypatch.setattr(augmix.jax, "default_backend", lambda: "gpu")
    at_once = jax.jit(lambda *given: augmix.run_chains.__wrapped__(*given))(pixels, plan)
    np.testing.assert_allclose(at_once, looped, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"severity": 0.05}, r"severity = 0.05: must be 0 or lie in \[0.1, 10.0\]"),
        ({"severity": 11.0}, r"severity = 11.0: must lie in \[0.0, 10.0\]"),
        ({"alpha": -1.0}, "alpha = -1.0: must be >= 0"),
        ({"chains": 0}, "chains = 0: must be a whole number >= 1"),
        ({"depth": 1.5}, "depth = 1.5"),
    ],
)
def test_refusals(settings, message):
    with pytest.raises(ValueError, match=message):
        augmix.augmix(**settings)
