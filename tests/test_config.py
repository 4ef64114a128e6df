"""Recipes, methods and fields of the configuration; what it refuses is in `tests/bad_input`."""

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
