"""Every field of the configuration against values of every kind.

`validate` must accept just what `allowed.ALLOWED` says, and refuse the rest in one line that has the
field's name and the value.
"""

import math

import numpy as np
import pytest
from allowed import ALLOWED, INT_MAX
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from refusing import refused

from varmixup_jax import checks
from varmixup_jax.config import base_config, freeze
from varmixup_jax.methods import METHODS
from varmixup_jax.models import CLASSIFIERS
from varmixup_jax.validation import validate


def leaves(section, prefix=""):
    for name, value in section.items():
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


FIELDS = list(leaves(base_config()))
SHARED = base_config()  # making one takes longer than checking it


def changed(field, change, config=None):
    """A configuration after `change(section, name)` of the section that has the field."""
    config = section = config or base_config()
    *sections, last = field.split(".")
    for part in sections:
        section = section[part]
    with section.unlocked(), section.ignore_type():
        change(section, last)
    return config


def put(field, value, config=None):
    """A configuration in which the field has the value whatever its type, and is used."""
    config = changed(field, lambda section, name: section.__setitem__(name, value), config)
    room, *rest = field.split(".")
    if room == "methods" and len(rest) > 1:
        config.method = rest[0]
    if field.startswith("vae.adversary."):
        config.method = "adv_varmixup"
    return config


def at(config, field):
    """The value of the field."""
    for part in field.split("."):
        config = config[part]
    return config


def agrees(field, value):
    """`validate` accepts the value just where it is documented to, and refuses it by name."""
    before, method = at(SHARED, field), SHARED.method
    try:
        _agrees(field, value)
    finally:
        # Anew, for a float in its place would make a float of a whole number.
        changed(field, lambda section, name: section.__delitem__(name), SHARED)
        put(field, before, SHARED)
        SHARED.method = method


def _agrees(field, value):
    try:
        config = put(field, value, SHARED)
    except (OverflowError, ValueError):
        # ConfigDict itself refuses a whole number beyond any float, and a dot in a field's name.
        return
    value = at(config, field)  # True in the place of a number is stored as 1.0
    if isinstance(value, ConfigDict):
        value = value.to_dict()
    if ALLOWED[field](value):
        validate(config, 1)
        return
    quoted = [checks.shown(value)]
    if isinstance(value, (tuple, list)):
        quoted += [checks.shown(tuple(value)), *map(checks.shown, value)]
    if isinstance(value, str):
        quoted += [repr(part.strip()) for part in value.split(",")]
    with refused(f"config.{field}") as caught:
        validate(config, 1)
    assert any(text in str(caught.value) for text in quoted), (quoted, str(caught.value))


def test_every_field_has_its_range_here():
    assert sorted(FIELDS) == sorted(ALLOWED)


@pytest.mark.parametrize("field", FIELDS)
def test_the_default_is_in_its_own_range(field):
    assert ALLOWED[field](at(SHARED, field))


NUMBERS = st.one_of(
    st.integers(-3, 3000),
    st.sampled_from([-1, 0, 1, 2, 4, 8, 16, INT_MAX, INT_MAX + 1, 2**63, 10**40, -(10**400)]),
    st.floats(),
    st.floats(-2, 2),
    st.sampled_from([0.0, -0.0, 0.5, 0.999999, 1.0, math.nan, math.inf, -math.inf, 1e308, 5e-324]),
)
WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", " ", "none", "None", "computed", "all", "erm", "erm,mixup", "varmixp", "ERM", "erm,",
         "batch", "exampel", "running", "resnet18", "resnet_18", "float32", "float16", "jit", "sgd",
         "cosine ", "../../etc", "a\x00b", "two\nlines", "\ud800", "\u202e", "<script>"]
    ),
)  # fmt: skip
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.binary(max_size=4),
    st.complex_numbers(max_magnitude=10),
    st.sampled_from([np.int64(3), np.float32(0.5), np.bool_(True), np.array([1, 2]), {}, set()]),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
LIKELY = st.one_of(
    st.lists(st.integers(0, 6), max_size=4),
    st.lists(st.floats(0, 1), max_size=3).map(sorted).map(tuple),
    st.sampled_from([*CLASSIFIERS, *METHODS]),
    st.integers(0, 20),
    st.floats(0, 1),
)
SINGLE = st.one_of(NUMBERS, WORDS, ODD)


@settings(max_examples=300)
@given(st.sampled_from(FIELDS), st.one_of(SINGLE, st.lists(SINGLE, max_size=4).map(tuple), LIKELY))
def test_any_field_with_any_value(field, value):
    agrees(field, value)


WRONG = [None, True, "", "many", b"1", (1,), math.nan, math.inf, -math.inf, 1e300, {}, {"a": 1}]
WRONG += [[[]], -1, -0.5, object, 10**5000, "x" * 10_000, "x" * 10_000 + "\n"]


@pytest.mark.parametrize("field", FIELDS)
def test_none_nan_and_the_wrong_kind(field):
    for value in WRONG:
        agrees(field, value)


NEAR = """method=varmixp>varmixup method=erm,mixupp>mixup model.name=resnet19>resnet18
    model.dtype=float23>float32 attack_bn=runing>running optim.name=sdg>sgd optim.schedule=cosin>cosine
    vae.latent=spacial>spatial vae.dtype=bfloat>bfloat16 vae.kernel=rfb>rbf vae.estimator=bised>biased
    vae.adversary.objective=recons>recon eval.checkpoint=lst>last eval.baseline=ermm>erm
    parallel.via=pmapp>pmap methods.mixup.lam=bach>batch methods.mixup_r.order=mix_frist>mix_first
    methods.manifold_mixup.loss=bce>bce_softmax"""


@pytest.mark.parametrize("case", NEAR.split())
def test_a_near_miss_is_answered_with_the_word_meant(case):
    (field, value), meant = case.split(">")[0].split("="), case.split(">")[1]
    with refused(f"config.{field} = '{value.split(',')[-1]}'", "did you mean", meant):
        validate(put(field, value), 1)


@pytest.mark.parametrize("field", [*FIELDS[::7], "data", "methods", "methods.at", "eval", "vae"])
def test_a_field_that_is_missing(field):
    with refused(f"config.{field}", "missing"):
        validate(changed(field, lambda section, name: section.__delitem__(name)), 1)


SECTIONS = ["data", "model", "optim", "methods", "methods.at", "vae", "vae.adversary", "eval"]


@pytest.mark.parametrize("field", SECTIONS)
@pytest.mark.parametrize("value", [None, 5, "digits", ()])
def test_a_section_that_is_none(field, value):
    with refused(f"config.{field} = {value!r}"):
        validate(put(field, value), 1)


@pytest.mark.parametrize("name", ["epoch", "Epochs", "learning_rate", "optim.learning_rat", "x"])
def test_a_field_that_is_not_known(name):
    with refused(f"'{name.split('.')[-1]}'"):
        validate(put(name, 1), 1)


@pytest.mark.parametrize("config", [None, 5, "digits", {}, {"method": "erm"}, [], object()])
def test_what_is_no_configuration(config):
    with refused("config = "):
        freeze(config)


STAGES = "methods.manifold_mixup.stages"
TOGETHER = [  # fields, the one that is named, devices
    ({"batch_size": 30}, "batch_size", 4),
    ({"vae.batch_size": 6}, "vae.batch_size", 4),
    ({"batch_size": INT_MAX}, "batch_size", 8),
    ({"eval.checkpoint": "best", "data.val_fraction": 0.0}, "data.val_fraction", 1),
    ({"vae.epochs": 0.0}, "vae.epochs", 1),
    ({"method": "erm,varmixup", "vae.epochs": 0.0}, "vae.epochs", 1),
    ({"method": "all", "methods.at.eps": 0.0}, "methods.at.eps", 1),
    ({"method": "all", "vae.adversary.steps": 0}, "vae.adversary.steps", 1),
    ({"method": "manifold_mixup", "model.name": "resnet8", STAGES: (4,)}, STAGES, 1),
    ({"seeds": (0, 1, 0)}, "seeds", 1),
]


@pytest.mark.parametrize(("fields", "named", "devices"), TOGETHER, ids=lambda v: str(v)[:60])
def test_fields_that_do_not_fit_together(fields, named, devices):
    c = base_config()
    c.update_from_flattened_dict(fields)
    with refused(f"config.{named} = {fields[named]}"):
        validate(c, devices)
