"""Every registered method: its loss, gradient, statistics and draws against its equation in float64.

`METHODS.md`, section 3. Passes, attacks and gradients are written out in NumPy (`small_net.py`); from
the package come the weights of the mixtures (the labels show them), starting points, AugMix views and
noise. Their distributions are the business of `test_vicinities.py` and of `tests/attacks`.
"""

import numpy as np
import pytest
import small_net as net
from small_net import CACHED, LABEL, Pass, check, decode, encode, flipped, forward, observe, view_of

from varmixup_jax.methods import METHODS, build

ATTACK = {"eps": 0.1, "step_size": 0.04, "steps": 3}
COVERED = set()


def covers(*names):
    COVERED.update(names)
    return lambda test: test


def weights_of(seen, term):
    """M of a mixing term: lambda I + (1 - lambda) P, lambda in (0, 1), P a permutation."""
    matrix = np.asarray(seen.samples[term].label, np.float64)
    net.pairing_of(matrix)
    return matrix


def mixed(matrix, points):
    return np.einsum("ij,j...->i...", matrix, points)


@covers("erm")
def test_erm():
    seen = observe(build("erm"))
    check(seen, [Pass(1.0, view_of(seen), LABEL)])


@covers("mixup")
@pytest.mark.parametrize("lam", ["batch", "example"])
def test_mixup(lam):
    seen = observe(build("mixup", lam=lam))
    matrix = weights_of(seen, 0)
    check(seen, [Pass(1.0, mixed(matrix, view_of(seen)), matrix)])


@covers("manifold_mixup")
@pytest.mark.parametrize(("stage", "loss"), [(0, "ce"), (1, "bce_softmax"), (2, "ce")])
def test_manifold_mixup(stage, loss):
    seen = observe(build("manifold_mixup", stages=(stage,), loss=loss))
    matrix = weights_of(seen, 0)

    def tap(k, hidden):
        return mixed(matrix, hidden) if k == stage else hidden

    check(seen, [Pass(1.0, view_of(seen), matrix, loss.removesuffix("_softmax"), tap)])


@covers("mixup_r")
@pytest.mark.parametrize("cached", [False, True])
def test_mixup_r_mixes_reconstructions(cached):
    seen = observe(build("mixup_r", clean_weight=0.25), cached=cached)
    view, matrix = view_of(seen), weights_of(seen, 0)
    # A cached latent is of the image before augmentation: its decoding is augmented on its own.
    r = decode("standard", encode("standard", view))
    if cached:
        r = flipped(decode("standard", CACHED.astype(np.float64)), seen.flips[1])
        assert (seen.flips[0] != seen.flips[1]).any()
    check(seen, [Pass(0.75, mixed(matrix, r), matrix), Pass(0.25, view, LABEL)])


@covers("mixup_r")
def test_mixup_r_the_other_way_round():
    seen = observe(build("mixup_r", order="mix_first"), cached=True)
    matrix = weights_of(seen, 0)
    x = mixed(matrix, view_of(seen))
    check(seen, [Pass(1.0, decode("standard", encode("standard", x)), matrix)])


@covers("varmixup", "adv_varmixup")
@pytest.mark.parametrize("name", ["varmixup", "adv_varmixup"])
@pytest.mark.parametrize("cached", [False, True])
def test_varmixup_and_the_same_over_another_vae(name, cached):
    vae = METHODS[name].vae
    assert vae == {"varmixup": "standard", "adv_varmixup": "adversarial"}[name]
    seen = observe(build(name, clean_weight=0.25), vae=vae, cached=cached)
    view, matrix = view_of(seen), weights_of(seen, 0)
    z = CACHED.astype(np.float64) if cached else encode(vae, view)
    image = decode(vae, mixed(matrix, z))
    if cached:
        image = flipped(image, seen.flips[1])
        assert (seen.flips[0] != seen.flips[1]).any()
    assert len(seen.flips) == (2 if cached else 1)
    check(seen, [Pass(0.75, image, matrix), Pass(0.25, view, LABEL)])


@covers("varmixup")
def test_varmixup_of_three_then_mixup_of_the_decoded():
    seen = observe(build("varmixup", partners=2, then_mixup=True), cached=True)
    both = np.asarray(seen.samples[0].label, np.float64)
    first = seen.codes[0].astype(np.float64) @ np.linalg.inv(CACHED.astype(np.float64))
    assert (np.sum(np.abs(first) > 1e-4, axis=1) == 3).any()
    np.testing.assert_allclose(first.sum(axis=1), 1.0, rtol=1e-4)
    second = both @ np.linalg.inv(first)
    net.pairing_of(second, atol=1e-3)
    decoded = flipped(decode("standard", mixed(first, CACHED.astype(np.float64))), seen.flips[1])
    check(seen, [Pass(1.0, mixed(second, decoded), both)])


def attacked(seen, starts, matrix, stats, loss, attack_bn):
    """x_adv by NumPy's PGD from the package's starting points, M^-1 of what it then mixed."""
    start = mixed(np.linalg.inv(matrix), np.asarray(starts, np.float64))
    view = view_of(seen)
    assert np.abs(start - view).max() <= ATTACK["eps"] + 1e-5
    train = attack_bn == "batch"
    clean = forward(net.PARAMS, stats, view, train=train)[0]

    def distance(image):
        logits = forward(net.PARAMS, stats, image, train=train)[0]
        return net.distance(loss, logits, LABEL, clean)

    found = net.pgd(view, start, distance, **ATTACK)
    assert distance(found).sum() > distance(view).sum()
    return found


def starting_points(name, term, **settings):
    return observe(build(name, **{**ATTACK, "steps": 0}), **settings).samples[term].image


@covers("at")
@pytest.mark.parametrize("attack_bn", ["running", "batch"])
def test_at(attack_bn):
    seen = observe(build("at", **ATTACK), attack_bn=attack_bn)
    starts = starting_points("at", 0, attack_bn=attack_bn)
    image = attacked(seen, starts, np.eye(net.BATCH), net.STATS, "ce", attack_bn)
    np.testing.assert_allclose(seen.samples[0].image, image, atol=1e-5)
    check(seen, [Pass(1.0, image, LABEL)])
    # Uniform in the ball: neither the image itself nor a corner.
    reach = np.abs(np.asarray(starts) - view_of(seen)) / ATTACK["eps"]
    assert 0.3 < reach.mean() < 0.6


@covers("trades")
@pytest.mark.parametrize("attack_bn", ["running", "batch"])
def test_trades(attack_bn):
    seen = observe(build("trades", beta=2.5, **ATTACK), attack_bn=attack_bn)
    starts = starting_points("trades", 1, attack_bn=attack_bn)
    first = Pass(1.0, view_of(seen), LABEL, clean=True)
    # The attack sees the statistics that the clean pass left.
    _, stats, _ = net.risk([first], net.PARAMS, net.STATS)
    image = attacked(seen, starts, np.eye(net.BATCH), stats, "kl", attack_bn)
    np.testing.assert_allclose(seen.samples[1].image, image, atol=1e-5)
    check(seen, [first, Pass(2.5, image, LABEL, "kl")])
    assert 0.0005 < np.std(np.asarray(starts) - view_of(seen)) < 0.002


@covers("iat")
def test_iat_attacks_the_unmixed_image_then_mixes_each_half_on_its_own():
    seen = observe(build("iat", **ATTACK))
    clean, adversarial = weights_of(seen, 0), weights_of(seen, 1)
    pairs = [net.pairing_of(matrix) for matrix in (clean, adversarial)]
    assert np.nanmin(abs(pairs[0][0] - pairs[1][0])) > 1e-3
    assert (pairs[0][1] != pairs[1][1]).any()
    first = Pass(0.5, mixed(clean, view_of(seen)), clean)
    _, stats, _ = net.risk([first], net.PARAMS, net.STATS)
    starts = starting_points("iat", 1)
    image = attacked(seen, starts, adversarial, stats, "ce", "running")
    check(seen, [first, Pass(0.5, mixed(adversarial, image), adversarial)])


def views_of(seen, first):
    """The AugMix views of the last two terms: of the view itself, and not of one another."""
    views = [np.asarray(sample.image, np.float64) for sample in seen.samples[first:]]
    assert len(views) == 2
    for one, other in (views, (views[0], view_of(seen)), (views[1], view_of(seen))):
        assert np.abs(one - other).max() > 0.01
    return views


def consistent(views, joint=True):
    """The terms of two views, in one batch with the clean images or not."""
    return [Pass(2.5, view, LABEL, "js", joint=joint) for view in views]


@covers("augmix")
@pytest.mark.parametrize("joint", [True, False])
def test_augmix(joint):
    seen = observe(build("augmix", consistency=5.0, joint=joint))
    passes = [Pass(1.0, view_of(seen), LABEL, clean=True)]
    check(seen, passes + consistent(views_of(seen, 1), joint))


@covers("varmixup_augmix")
@pytest.mark.parametrize("clean_weight", [0.0, 0.25])
def test_varmixup_augmix(clean_weight):
    settings = {"clean_weight": clean_weight, "consistency": 5.0}
    seen = observe(build("varmixup_augmix", **settings), cached=True)
    matrix = weights_of(seen, 0)
    image = flipped(decode("standard", mixed(matrix, CACHED.astype(np.float64))), seen.flips[1])
    # The clean pass stays where it weighs nothing: the views are compared with its logits.
    passes = [
        Pass(1 - clean_weight, image, matrix),
        Pass(clean_weight, view_of(seen), LABEL, clean=True),
    ]
    check(seen, passes + consistent(views_of(seen, 2)))


def restyled_image(seen):
    """What the decoder made of the restyled latents, flipped anew; `test_restyle.py` has those."""
    code = seen.codes[0].astype(np.float64)
    assert np.abs(code - CACHED.reshape(code.shape)).max() > 0.1
    return flipped(decode("grid", code), seen.flips[1])


@covers("restyle")
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_restyle(alpha):
    seen = observe(build("restyle", clean_weight=0.25, alpha=alpha), vae="grid", cached=True)
    matrix = weights_of(seen, 0) if alpha else LABEL
    np.testing.assert_array_equal(seen.samples[0].label, matrix.astype(np.float32))
    check(
        seen,
        [Pass(0.75, restyled_image(seen), matrix), Pass(0.25, view_of(seen), LABEL)],
    )


@covers("restyle_augmix")
def test_restyle_augmix():
    settings = {"clean_weight": 0.25, "consistency": 5.0}
    seen = observe(build("restyle_augmix", **settings), vae="grid", cached=True)
    passes = [
        Pass(0.75, restyled_image(seen), LABEL),
        Pass(0.25, view_of(seen), LABEL, clean=True),
    ]
    check(seen, passes + consistent(views_of(seen, 2)))


@covers("varmixup_augmix")
def test_views_of_reconstructions():
    settings = {"consistency": 5.0, "severity": 0.0, "decoded_views": True}
    seen = observe(build("varmixup_augmix", **settings), cached=True)
    matrix = weights_of(seen, 0)
    z = CACHED.astype(np.float64)
    image = flipped(decode("standard", mixed(matrix, z)), seen.flips[1])
    # Severity 0 makes AugMix the identity: a view is the reconstruction, augmented anew.
    views = [flipped(decode("standard", z), seen.flips[i]) for i in (2, 3)]
    passes = [Pass(0.5, image, matrix), Pass(0.5, view_of(seen), LABEL, clean=True)]
    check(seen, passes + consistent(views))


@covers("restyle_augmix")
def test_views_of_restyled_images():
    settings = {"consistency": 5.0, "severity": 0.0, "alpha": 1.0, "decoded_views": True}
    seen = observe(build("restyle_augmix", **settings), vae="grid", cached=True)
    matrix = weights_of(seen, 0)
    codes = [code.astype(np.float64) for code in seen.codes]
    assert min(np.abs(codes[i] - codes[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 0.1
    images = [flipped(decode("grid", c), seen.flips[i + 1]) for i, c in enumerate(codes)]
    np.testing.assert_array_equal(seen.samples[2].label, LABEL.astype(np.float32))
    passes = [Pass(0.5, images[0], matrix), Pass(0.5, view_of(seen), LABEL, clean=True)]
    check(seen, passes + consistent(images[1:]))


def noisy_tap(sample, matrix=None):
    """The tap at stage 2 in float64: the noise itself is what it makes of zeros and of ones."""
    shape = (net.BATCH, net.WIDTH)
    add = np.asarray(sample.tap(2, np.zeros(shape, np.float32)), np.float64)
    scale = np.asarray(sample.tap(2, np.ones(shape, np.float32)), np.float64) - add
    assert 0.1 < add.std() < 0.3
    assert 0.2 < scale.std() < 0.6
    matrix = np.eye(net.BATCH) if matrix is None else matrix
    return lambda k, hidden: scale * mixed(matrix, hidden) + add if k == 2 else hidden


@covers("varmixup_noisymix")
def test_varmixup_noisymix():
    sigma = {"sigma_add": 0.2, "sigma_mult": 0.4, "stages": (2,)}
    settings = {"clean_weight": 0.25, "consistency": 5.0, **sigma}
    seen = observe(build("varmixup_noisymix", **settings), cached=True)
    matrix = weights_of(seen, 0)
    image = flipped(decode("standard", mixed(matrix, CACHED.astype(np.float64))), seen.flips[1])
    taps = [noisy_tap(seen.samples[i]) for i in (0, 2, 3)]
    views = views_of(seen, 2)
    check(
        seen,
        [
            Pass(0.75, image, matrix, tap=taps[0]),
            Pass(0.25, view_of(seen), LABEL, clean=True),
            Pass(2.5, views[0], LABEL, "js", taps[1], joint=True),
            Pass(2.5, views[1], LABEL, "js", taps[2], joint=True),
        ],
    )


@covers("noisymix")
def test_noisymix():
    sigma = {"sigma_add": 0.2, "sigma_mult": 0.4}
    seen = observe(build("noisymix", clean_weight=0.25, consistency=5.0, stages=(2,), **sigma))
    matrix = weights_of(seen, 0)
    views = views_of(seen, 2)
    check(
        seen,
        [
            Pass(0.75, view_of(seen), matrix, tap=noisy_tap(seen.samples[0], matrix)),
            Pass(0.25, view_of(seen), LABEL, clean=True),
            Pass(2.5, views[0], LABEL, "js", noisy_tap(seen.samples[2]), joint=True),
            Pass(2.5, views[1], LABEL, "js", noisy_tap(seen.samples[3]), joint=True),
        ],
    )


def test_every_method_has_its_equation_here():
    assert set(METHODS) == COVERED
