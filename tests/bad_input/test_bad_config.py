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
from varmixup_jax.config import base_config
from varmixup_jax.models import CLASSIFIERS
from varmixup_jax.validation import check_fields, validate
from varmixup_jax.vicinal.methods import METHODS


def leaves(section, prefix=""):
    for name, value in section.items():
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


FIELDS = list(leaves(base_config()))


def put(field, value):
    """A configuration in which the field has the value whatever its type, and is used."""
    c = base_config()
    if field.startswith("methods."):
        c.method = field.split(".")[1]
    if field.startswith("vae.adversary."):
        c.method = "adv_varmixup"
    *sections, last = field.split(".")
    section = c
    for part in sections:
        section = section[part]
    with section.unlocked(), section.ignore_type():
        section[last] = value
    stored = section[last]  # True in the place of a number is stored as 1.0
    return c, stored.to_dict() if isinstance(stored, ConfigDict) else stored


def agrees(field, value, devices=1):
    """`validate` accepts the value just where it is documented to, and refuses it by name."""
    try:
        config, value = put(field, value)
    except (OverflowError, ValueError):
        # ConfigDict itself refuses a whole number beyond any float, and a dot in a field's name.
        return
    if ALLOWED[field](value):
        validate(config, devices)
        return
    quoted = [checks.shown(value)]
    if isinstance(value, (tuple, list)):
        quoted += [checks.shown(entry) for entry in value]
        quoted.append(checks.shown(tuple(value)))
    if isinstance(value, str):
        quoted += [repr(part.strip()) for part in value.split(",")]
    with refused(f"config.{field}") as caught:
        validate(config, devices)
    assert any(text in str(caught.value) for text in quoted), (quoted, str(caught.value))


def test_every_field_has_its_range_here():
    assert sorted(FIELDS) == sorted(ALLOWED)


@pytest.mark.parametrize("field", FIELDS)
def test_the_default_is_in_its_own_range(field):
    c = base_config()
    for part in field.split("."):
        c = c[part]
    assert ALLOWED[field](c)


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
ANYTHING = st.one_of(
    NUMBERS, WORDS, ODD, st.lists(st.one_of(NUMBERS, WORDS, ODD), max_size=4).map(tuple)
)
LIKELY = st.one_of(
    st.lists(st.integers(0, 6), max_size=4),
    st.lists(st.floats(0, 1), max_size=3).map(sorted).map(tuple),
    st.sampled_from([word for w in (CLASSIFIERS, METHODS) for word in w]),
    st.integers(0, 20),
    st.floats(0, 1),
)


@settings(max_examples=800)
@given(field=st.sampled_from(FIELDS), value=st.one_of(ANYTHING, LIKELY))
def test_any_field_with_any_value(field, value):
    agrees(field, value)


NOT_NUMBERS = [None, True, "", "many", b"1", (1,), math.nan, math.inf, -math.inf, 1e300]

LONG = ["x" * 10_000, "x" * 10_000 + "\n"]


@pytest.mark.parametrize("field", FIELDS)
def test_none_nan_and_the_wrong_kind(field):
    for value in (*NOT_NUMBERS, {}, {"a": 1}, [[]], -1, -0.5, object, 10**5000, *LONG):
        agrees(field, value)


NEAR = [
    ("method", "varmixp", "varmixup"),
    ("method", "erm,mixupp", "mixup"),
    ("model.name", "resnet19", "resnet18"),
    ("model.dtype", "float23", "float32"),
    ("attack_bn", "runing", "running"),
    ("optim.name", "sdg", "sgd"),
    ("optim.schedule", "cosin", "cosine"),
    ("vae.latent", "spacial", "spatial"),
    ("vae.dtype", "bfloat", "bfloat16"),
    ("vae.kernel", "rfb", "rbf"),
    ("vae.estimator", "bised", "biased"),
    ("vae.adversary.objective", "recons", "recon"),
    ("eval.checkpoint", "lst", "last"),
    ("eval.baseline", "ermm", "erm"),
    ("parallel.via", "pmapp", "pmap"),
    ("methods.mixup.lam", "bach", "batch"),
    ("methods.mixup_r.order", "mix_frist", "mix_first"),
    ("methods.manifold_mixup.loss", "bce", "bce_softmax"),
]


@pytest.mark.parametrize(("field", "value", "meant"), NEAR)
def test_a_near_miss_is_answered_with_the_word_meant(field, value, meant):
    with refused(f"config.{field} = '{value.split(',')[-1]}'", "did you mean", meant):
        validate(put(field, value)[0], 1)


def without(field):
    c = base_config()
    *sections, last = field.split(".")
    section = c
    for part in sections:
        section = section[part]
    with section.unlocked():
        del section[last]
    return c


@pytest.mark.parametrize("field", [*FIELDS[::7], "data", "methods", "methods.at", "eval", "vae"])
def test_a_field_that_is_missing(field):
    with refused(f"config.{field}", "missing"):
        validate(without(field), 1)


@pytest.mark.parametrize(
    "field", ["data", "model", "optim", "methods", "methods.at", "vae", "vae.adversary", "eval"]
)
@pytest.mark.parametrize("value", [None, 5, "digits", ()])
def test_a_section_that_is_none(field, value):
    with refused(f"config.{field} = {value!r}"):
        validate(put_section(field, value), 1)


def put_section(field, value):
    c = base_config()
    *sections, last = field.split(".")
    section = c
    for part in sections:
        section = section[part]
    with section.unlocked(), section.ignore_type():
        section[last] = value
    return c


@pytest.mark.parametrize("name", ["epoch", "Epochs", "learning_rate", "optim.learning_rat", "x"])
def test_a_field_that_is_not_known(name):
    c = base_config()
    *sections, last = name.split(".")
    section = c
    for part in sections:
        section = section[part]
    with section.unlocked():
        section[last] = 1
    with refused(f"'{last}'"):
        validate(c, 1)


@pytest.mark.parametrize("config", [None, 5, "digits", {}, {"method": "erm"}, [], object()])
def test_what_is_no_configuration(config):
    with refused("config = "):
        check_fields(config)


TOGETHER = [
    ({"batch_size": 30}, 4, "config.batch_size = 30"),
    ({"vae.batch_size": 6}, 4, "config.vae.batch_size = 6"),
    ({"batch_size": INT_MAX}, 8, f"config.batch_size = {INT_MAX}"),
    ({"eval.checkpoint": "best", "data.val_fraction": 0.0}, 1, "config.data.val_fraction = 0.0"),
    ({"vae.epochs": 0.0}, 1, "config.vae.epochs = 0.0"),
    ({"method": "erm,varmixup", "vae.epochs": 0.0}, 1, "config.vae.epochs = 0.0"),
    ({"method": "all", "methods.at.eps": 0.0}, 1, "config.methods.at.eps = 0.0"),
    ({"method": "all", "vae.adversary.steps": 0}, 1, "config.vae.adversary.steps = 0"),
    (
        {
            "method": "manifold_mixup",
            "model.name": "resnet8",
            "methods.manifold_mixup.stages": (4,),
        },
        1,
        "config.methods.manifold_mixup.stages = (4,)",
    ),
    ({"seeds": (0, 1, 0)}, 1, "config.seeds = (0, 1, 0)"),
]


@pytest.mark.parametrize(("fields", "devices", "message"), TOGETHER, ids=lambda v: str(v)[:60])
def test_fields_that_do_not_fit_together(fields, devices, message):
    c = base_config()
    c.update_from_flattened_dict(fields)
    with refused(message):
        validate(c, devices)
