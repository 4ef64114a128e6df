"""Every field of the configuration against values of every kind.

`ALLOWED` says anew, field by field, what is documented to be allowed: `validate` must accept just
that, and refuse the rest in one line that has the field's name and the value.
"""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from refusing import refused

from varmixup_jax import checks
from varmixup_jax.config import base_config, check_fields, validate
from varmixup_jax.models import CLASSIFIERS
from varmixup_jax.vicinal.methods import METHODS

INT_MAX = 2**31 - 1
FLOAT_MAX = float(np.finfo(np.float32).max)


def number(value):
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    return fits and abs(value) <= FLOAT_MAX and not (isinstance(value, float) and math.isnan(value))


def whole(value):
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= INT_MAX


def text(value):
    return isinstance(value, str) and value.isprintable()


def is_there(value):
    return value != "" and len(value) < 200 and Path(value).exists()


def flag(value):
    return isinstance(value, bool)


def at_least(least):
    return lambda value: whole(value) and value >= least


def positive(value):
    return number(value) and value > 0


def non_negative(value):
    return number(value) and value >= 0


def epochs(value):
    return number(value) and 0 <= value <= 1e6


def fraction(value):
    return number(value) and 0 <= value <= 0.999999


def unit(value):
    return number(value) and 0 <= value <= 1


def word(*words):
    return lambda value: isinstance(value, str) and value in words


def entries(rule, least=0):
    return lambda value: (
        isinstance(value, (tuple, list)) and len(value) >= least and all(map(rule, value))
    )


def distinct(rule):
    return lambda value: entries(rule, 1)(value) and len(set(value)) == len(value)


def increasing(value):
    inside = entries(lambda v: number(v) and 0 < v < 1)(value)
    return inside and list(value) == sorted(set(value))


def methods(value):
    if not text(value):
        return False
    names = [name.strip() for name in value.split(",")]
    return names == ["all"] or all(name in METHODS for name in names)


def lam(value):
    return word("batch", "example")(value)


ALLOWED = {
    "method": methods,
    "seeds": distinct(at_least(0)),
    "quiet": flag,
    "data.source": text,
    "data.dir": text,
    "data.val_fraction": fraction,
    "data.split_seed": at_least(0),
    "data.limit": at_least(0),
    "data.resize": at_least(0),
    "data.pad": at_least(0),
    "data.flip": flag,
    "model.name": word(*CLASSIFIERS),
    "model.width": at_least(0),
    "model.dtype": word("float32", "bfloat16"),
    "epochs": lambda v: epochs(v) and v > 0,
    "attack_epochs": epochs,
    "batch_size": at_least(1),
    "ema_decay": fraction,
    "attack_bn": word("running", "batch"),
    "optim.name": word("sgd", "adam", "adamw"),
    "optim.learning_rate": positive,
    "optim.schedule": word("constant", "cosine", "onecycle", "piecewise"),
    "optim.warmup": fraction,
    "optim.boundaries": increasing,
    "optim.decay": positive,
    "optim.momentum": fraction,
    "optim.nesterov": flag,
    "optim.weight_decay": non_negative,
    "optim.clip_norm": non_negative,
    "vae.latent": word("spatial", "vector"),
    "vae.latent_size": at_least(1),
    "vae.downsample": lambda v: whole(v) and v in (0, 2, 4, 8, 16),
    "vae.width": at_least(1),
    "vae.blocks": at_least(0),
    "vae.dtype": word("float32", "bfloat16"),
    "vae.gamma": non_negative,
    "vae.kernel": word("rbf", "zhao", "imq"),
    "vae.bandwidth": non_negative,
    "vae.estimator": word("unbiased", "biased"),
    "vae.epochs": lambda v: epochs(v) and v > 0,  # "varmixup" needs a VAE
    "vae.batch_size": at_least(1),
    "vae.learning_rate": positive,
    "vae.weight_decay": non_negative,
    "vae.ema_decay": fraction,
    "vae.seed": at_least(0),
    "vae.store": text,
    "vae.adversary.objective": word("recon", "latent"),
    "vae.adversary.eps": positive,
    "vae.adversary.step_size": positive,
    "vae.adversary.steps": at_least(1),
    "eval.every_epochs": positive,
    "eval.checkpoint": word("last", "best"),
    "eval.batch_size": at_least(1),
    "eval.bins": lambda v: whole(v) and 1 <= v <= 1000,
    "eval.examples": at_least(0),
    "eval.corruptions": lambda v: text(v) and (v in ("none", "computed") or is_there(v)),
    "eval.corruptions_md5": flag,
    "eval.frost_dir": text,
    "eval.baseline": word("", *METHODS),
    "eval.attack_examples": at_least(0),
    "eval.attack_eps": positive,
    "eval.attack_step_size": positive,
    "eval.attack_steps": at_least(1),
    "eval.attack_restarts": at_least(1),
    "eval.apgd_steps": at_least(0),
    "eval.linearity_examples": at_least(0),
    "eval.linearity_eps": entries(positive),
    "eval.linearity_steps": at_least(1),
    "eval.linearity_restarts": at_least(1),
    "eval.linearity_relative_step": positive,
    "checkpoints.keep": at_least(1),
    "parallel.via": word("jit", "pmap"),
    "parallel.devices": at_least(0),
    "parallel.steps_per_call": at_least(0),
    "parallel.deterministic": flag,
    "methods.mixup_r.order": word("reconstruct_first", "mix_first"),
    "methods.manifold_mixup.loss": word("ce", "bce_softmax"),
    "methods.manifold_mixup.stages": distinct(lambda v: whole(v) and 0 <= v <= 4),
    "methods.trades.beta": non_negative,
    "methods.trades.start_sigma": non_negative,
}
BY_SETTING = {
    "alpha": non_negative,
    "lam": lam,
    "clean_weight": unit,
    "eps": positive,
    "step_size": positive,
    "steps": at_least(1),
}
for method, entry in METHODS.items():
    for setting in entry.settings:
        if setting in BY_SETTING:
            ALLOWED[f"methods.{method}.{setting}"] = BY_SETTING[setting]


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
    except OverflowError:  # ConfigDict itself refuses a whole number beyond any float
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
