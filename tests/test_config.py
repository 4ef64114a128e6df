"""What the configuration refuses, and how."""

import importlib

import pytest
from toy import set_fields

from varmixup_jax import command_line, fields
from varmixup_jax.config import base_config, method_argument, selected_methods
from varmixup_jax.methods import METHODS
from varmixup_jax.saved_config import flatten
from varmixup_jax.validation import validate

RECIPES = ("digits", "cifar10", "cifar100", "tiny_imagenet")


def changed(**fields):
    return set_fields(base_config(), **fields)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("argument", [None, "erm", "all", "augmix,noisymix,varmixup_augmix"])
def test_recipes_are_valid(recipe, argument):
    module = importlib.import_module(f"configs.{recipe}")
    validate(module.get_config(argument), devices=1)
    assert f"--config=configs/{recipe}.py" in module.__doc__


def test_a_recipe_is_a_file_or_the_name_of_one_of_the_package(tmp_path, monkeypatch):
    """Wherever the command runs; a file goes before a name, a directory does not."""
    monkeypatch.chdir(tmp_path)
    assert command_line.recipe_names() == sorted(RECIPES)
    config = command_line.read_config("cifar100:erm,poster_guess", ["--config.epochs=7"])
    found = (config.method, config.data.source, config.model.name, config.epochs)
    assert found == ("erm", "tfds:cifar100", "resnet34", 7.0)
    (tmp_path / "digits").mkdir()
    assert command_line.read_config("digits", []).data.source == "digits"
    (tmp_path / "digits").rmdir()
    text = "from varmixup_jax.recipes import digits\ndef get_config():\n c = digits.get_config()\n"
    (tmp_path / "digits").write_text(f"{text} c.epochs = 2.0\n return c\n")
    assert command_line.read_config("digits", []).epochs == 2.0


def test_the_presets_of_cifar10():
    recipe = importlib.import_module("configs.cifar10")
    found = {}
    for preset in ("modern", "poster_guess", "record", "record_long", "cpu"):
        c = recipe.get_config(preset)
        validate(c, devices=1)
        found[preset] = (c.method, c.model.name, c.epochs)
    assert found == {
        "modern": ("varmixup", "resnet18", 30.0),
        "poster_guess": ("varmixup", "resnet34", 100.0),
        "record": ("restyle_augmix", "resnet18", 150.0),
        "record_long": ("restyle_augmix", "wrn28_4", 200.0),
        "cpu": ("varmixup", "resnet8", 10.0),
    }
    assert recipe.get_config("erm,record").method == "erm"


def test_every_method_has_its_section():
    c = base_config()
    assert set(c.methods) == set(METHODS)
    for name, method in METHODS.items():
        assert c.methods[name].to_dict() == method.settings


def test_methods_and_presets():
    assert selected_methods("all") == tuple(METHODS)[:9]
    assert selected_methods("mixup, erm,mixup") == ("mixup", "erm")
    assert method_argument("all", "erm", "a", "b") == ("all", "a")
    with pytest.raises(ValueError, match="more than one preset"):
        method_argument("a,b", "erm", "a", "b")
    with pytest.raises(ValueError, match="did you mean mixup"):
        method_argument("mixip", "erm")


CASES = [
    ({"method": "varmixp"}, "config.method = 'varmixp'.*did you mean varmixup"),
    ({"seeds": ()}, "config.seeds"),
    ({"seeds": (1, 1)}, "config.seeds.*distinct"),
    ({"seeds": (-1,)}, "config.seeds"),
    ({"epochs": 0.0}, "config.epochs = 0.0: must be > 0"),
    ({"epochs": float("nan")}, "config.epochs = nan"),
    ({"batch_size": 0}, "config.batch_size = 0"),
    ({"batch_size": 30}, "config.batch_size = 30: must be divisible by the 4 devices"),
    ({"model__name": "resnet19"}, "config.model.name.*did you mean resnet18"),
    ({"model__dtype": "float16"}, "config.model.dtype"),
    ({"model__width": -1}, "config.model.width = -1"),
    ({"optim__name": "lamb"}, "config.optim.name = 'lamb'"),
    ({"optim__schedule": "cosin"}, "did you mean cosine"),
    ({"optim__learning_rate": -0.1}, "config.optim.learning_rate = -0.1"),
    ({"optim__momentum": 1.0}, "config.optim.momentum = 1.0"),
    ({"ema_decay": 1.0}, "config.ema_decay = 1.0"),
    ({"attack_bn": "eval"}, "config.attack_bn"),
    ({"data__val_fraction": 1.0}, "config.data.val_fraction"),
    ({"data__pad": -1}, "config.data.pad = -1"),
    ({"vae__epochs": 0.0}, "config.vae.epochs = 0.0: method 'varmixup' needs a VAE"),
    ({"vae__kernel": "rbff"}, "config.vae.kernel.*did you mean rbf"),
    ({"vae__latent": "grid"}, "config.vae.latent"),
    ({"vae__gamma": -1.0}, "config.vae.gamma = -1.0"),
    ({"vae__batch_size": 6}, "config.vae.batch_size = 6: must be divisible"),
    ({"method": "at", "methods__at__eps": 0.0}, "config.methods.at.eps = 0.0: must be > 0"),
    ({"method": "trades", "methods__trades__eps": -1.0}, "config.methods.trades.eps = -1.0"),
    ({"method": "iat", "methods__iat__steps": 0}, "config.methods.iat.steps = 0"),
    ({"method": "mixup", "methods__mixup__alpha": -1.0}, "config.methods.mixup.alpha = -1.0"),
    ({"method": "mixup", "methods__mixup__lam": "per"}, "config.methods.mixup.lam = 'per'"),
    ({"methods__varmixup__clean_weight": 2.0}, "config.methods.varmixup.clean_weight = 2.0"),
    (
        {"method": "adv_varmixup", "vae__adversary__eps": 0.0},
        "config.vae.adversary.eps = 0.0: must be > 0",
    ),
    ({"eval__attack_eps": 0.0}, "config.eval.attack_eps = 0.0: must be > 0"),
    ({"eval__linearity_eps": (0.0,)}, "config.eval.linearity_eps = 0.0"),
    ({"eval__checkpoint": "first"}, "config.eval.checkpoint"),
    ({"eval__corruptions": "all"}, "config.eval.corruptions"),
    (
        {"eval__checkpoint": "best", "data__val_fraction": 0.0},
        "config.data.val_fraction = 0.0: must be > 0",
    ),
    ({"parallel__via": "xmap"}, "config.parallel.via = 'xmap'"),
    ({"parallel__steps_per_call": -1}, "config.parallel.steps_per_call = -1"),
    ({"checkpoints__keep": 0}, "config.checkpoints.keep = 0"),
]


@pytest.mark.parametrize(("fields", "message"), CASES, ids=[str(c[0]) for c in CASES])
def test_refusals_are_one_line_that_names_the_field(fields, message):
    with pytest.raises(ValueError, match=message) as error:
        validate(changed(**fields), devices=4)
    assert "\n" not in str(error.value)


def test_unknown_fields_and_types_are_refused():
    with pytest.raises(AttributeError, match="epoch"):
        base_config().epoch = 3
    with pytest.raises(TypeError):
        base_config().epochs = "many"


def test_no_vae_needed_no_vae_asked_for():
    validate(changed(method="erm", vae__epochs=0.0), devices=1)


def test_fields_are_listed_with_their_meaning_and_by_prefix(capsys):
    every = set(flatten(base_config().to_dict())) - {"methods.erm"}  # which has no settings
    assert {line.split(" = ")[0] for line in fields.lines()} == every
    assert all(field.meaning for field in fields.FIELDS.values())
    assert fields.main(["vae.adv", "checkpoints"]) == 0
    words = [line.split(" ")[0] for line in capsys.readouterr().out.splitlines()]
    adversary = [f"vae.adversary.{name}" for name in ("objective", "eps", "step_size", "steps")]
    assert words == [*adversary, "checkpoints.keep"]
    assert fields.main(["vea"]) == 2
    assert "vea: no field starts with this" in capsys.readouterr().err


@pytest.mark.parametrize("name", [n for n, field in fields.FIELDS.items() if field.used_if])
def test_what_nothing_reads_is_not_checked(name):
    """A radius of 0 is refused where images are attacked, and only there."""
    bad = (0.0,) if name == "eval.linearity_eps" else type(fields.FIELDS[name].default)(0)
    c = set_fields(base_config(), **{name.replace(".", "__"): bad})
    with pytest.raises(ValueError, match=f"config.{name} = 0"):
        fields.check(c.to_dict())
    c = set_fields(c, **{fields.FIELDS[name].used_if.replace(".", "__"): 0})
    fields.check(c.to_dict())
