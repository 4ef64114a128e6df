"""Recipes that raise, return something else, or are none: one line with file and line."""

import pytest
from refusing import refusal

# ml_collections loads recipes by a method that importlib will drop.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def changing(line):
    head = "from varmixup_jax.config import base_config\n"
    return f"{head}def get_config():\n    c = base_config()\n    {line}\n    return c\n"


RECIPES = {
    "raises.py": ("def get_config():\n    raise RuntimeError('boom\\nand more')\n", ":2: RuntimeError"),
    "value.py": ("def get_config():\n    raise ValueError('boom')\n", ":2: ValueError: boom"),
    "os.py": ("def get_config():\n    open('/nowhere/x')\n", "/nowhere/x"),
    "key.py": ("def get_config():\n    return {}['x']\n", ":2: KeyError: x"),
    "deep.py": ("def get_config():\n    get_config()\n", ":2: RecursionError"),
    "exits.py": ("import sys\nsys.exit(0)\n", ":2: SystemExit: 0"),
    "asserts.py": ("def get_config():\n    assert False\n", ":2: AssertionError"),
    "imports.py": ("import nowhere_to_be_found\n", ":1: ModuleNotFoundError"),
    "syntax.py": ("def get_config(:\n", ":1: SyntaxError"),
    "nul.py": ("x = 1\0\n", "nul.py"),
    "empty.py": ("", "has no function get_config"),
    "none.py": ("def get_config():\n    return None\n", "config = None"),
    "five.py": ("def get_config():\n    return 5\n", "config = 5"),
    "text.py": ("def get_config():\n    return 'digits'\n", "config = 'digits'"),
    "dict.py": ("def get_config():\n    return {'method': 'erm'}\n", "config = {'method': 'erm'}"),
    "bare.py": (
        "import ml_collections as m\ndef get_config():\n    return m.ConfigDict({'method': 'erm'})\n",
        "config.attack_bn",
    ),
    "argument.py": ("def get_config(a, b):\n    pass\n", "get_config()"),
    "field.py": (changing("c.epoch = 3"), ":4: AttributeError"),
    "kind.py": (changing("c.epochs = 'many'"), ":4: TypeError"),
    "empty_field.py": (changing("c.epochs = None"), "config.epochs = None"),
    "empty_section.py": (changing("c.data = None"), "config.data = None"),
    "source.py": (changing("c.data.source = 'npz:a\\0b'"), "config.data.source = 'npz:a\\x00b'"),
    "nesting.py": (changing("c.data = {}"), "config.data"),
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_refused_recipes(name, run, tmp_path):
    content, message = RECIPES[name]
    recipe = tmp_path / name
    recipe.write_text(content)
    refusal(run, [f"--config={recipe}"], message, place=tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_is_not_text(run, tmp_path):
    recipe = tmp_path / "bytes.py"
    recipe.write_bytes(b"\xff\xfe\x00import os")
    refusal(run, [f"--config={recipe}"], "bytes.py", place=tmp_path)
