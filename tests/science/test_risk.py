"""What a risk does with its terms: keys, statistics, the clean prediction, the attacked network."""

from functools import partial

import numpy as np
import pytest
import small_net as net
from small_net import LABEL, Pass, check, forward, observe

from varmixup_jax.losses import ce, js_to_clean, kl_to_clean
from varmixup_jax.methods import build
from varmixup_jax.types import Term
from varmixup_jax.vicinal import mixing


def test_terms_and_augmentations_have_keys_of_their_own_and_runs_by_seed():
    # The view, a term, the augmentation of what it decoded, the other term; and all that once more.
    terms = build("varmixup", clean_weight=0.5)
    keys = [key for seed in (0, 1) for key in observe(terms, cached=True, seed=seed).keys]
    assert len(np.unique(np.stack(keys), axis=0)) == len(keys) == 8


@pytest.mark.parametrize("attack_bn", ["running", "batch"])
def test_the_attacked_logits_and_what_they_leave_alone(attack_bn):
    """`attack_bn` decides the logits a vicinity sees, and never touches the statistics."""
    looked = []

    def look(key, env, draw):
        looked.append(env.logits(draw.image))
        return draw

    seen = observe((Term(1.0, look, ce), Term(1.0, look, ce)), attack_bn=attack_bn)
    stats = net.STATS
    for logits in looked:
        train = attack_bn == "batch"
        expected, _ = forward(net.PARAMS, stats, net.view_of(seen), train=train)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
        _, stats = forward(net.PARAMS, stats, net.view_of(seen), train=True)
    check(seen, [Pass(1.0, net.view_of(seen), LABEL)] * 2)
    assert np.abs(stats["mean"] - net.STATS["mean"]).max() > 0.01


def test_a_first_term_cannot_join_another():
    with pytest.raises(ValueError, match="joint = True: the first term has none before it"):
        observe((Term(1.0, mixing.dirac, ce, joint=True),))


def soften(key, env, draw):
    """Changes labels alone."""
    return draw._replace(label=0.9 * draw.label + 0.1 / net.CLASSES)


@pytest.mark.parametrize(
    "clean",
    [
        mixing.chain(mixing.dirac),
        mixing.chain(mixing.chain(mixing.dirac), mixing.dirac),
        partial(mixing.dirac),
        lambda key, env, draw: mixing.dirac(key, env, draw),
        soften,
    ],
    ids=["chain", "nested", "partial", "wrapped", "labels"],
)
@pytest.mark.parametrize(("distance", "name"), [(kl_to_clean, "kl"), (js_to_clean, "js")])
def test_the_clean_term_is_the_one_that_shows_the_view(clean, distance, name):
    mirror = partial(_changed, function=lambda image: image[:, ::-1])
    seen = observe((Term(0.5, clean, ce), Term(2.0, mirror, distance)))
    view = net.view_of(seen)
    label = 0.9 * LABEL + 0.1 / net.CLASSES if clean is soften else LABEL
    check(seen, [Pass(0.5, view, label, clean=True), Pass(2.0, view[:, ::-1], LABEL, name)])


def _changed(key, env, draw, *, function):
    return draw._replace(image=function(draw.image))


@pytest.mark.parametrize(
    "before",
    [
        (),
        (Term(1.0, partial(_changed, function=lambda image: image + 0.0), ce),),
        (Term(1.0, lambda key, env, draw: draw._replace(tap=lambda k, h: h), ce),),
    ],
    ids=["none", "another image", "another tap"],
)
@pytest.mark.parametrize("distance", [kl_to_clean, js_to_clean])
def test_without_a_clean_term_before_it_a_consistency_is_refused(before, distance):
    terms = (*before, Term(1.0, partial(_changed, function=lambda x: 1 - x), distance))
    message = rf"^clean_logits = None: {distance.__name__} needs an earlier term"
    with pytest.raises(ValueError, match=message) as error:
        observe((*terms, Term(1.0, mixing.dirac, ce)))
    assert "\n" not in str(error.value)
