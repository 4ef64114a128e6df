"""Recipes that raise, return something else, or are none: one line with file and line."""

import pytest
from damages import write

FILES = {
    "imports": ("import nowhere_to_be_found\n", ":1: ModuleNotFoundError"),
    "syntax": ("def get_config(:\n", ":1: SyntaxError"),
    "nul": ("x = 1\0\n", "nul.py"),
    "bytes": (b"\xff\xfe\x00import os", "bytes.py"),
    "empty": ("", "has no function get_config"),
    "exits": ("import sys\nsys.exit(0)\n", ":2: SystemExit: 0"),
    "argument": ("def get_config(a, b):\n    pass\n", "get_config()"),
}
BODIES = {
    "raises": ("raise RuntimeError('boom\\nand more')", ":2: RuntimeError"),
    "value": ("raise ValueError('boom')", ":2: ValueError: boom"),
    "os": ("open('/nowhere/x')", "/nowhere/x"),
    "key": ("return {}['x']", ":2: KeyError: x"),
    "deep": ("get_config()", ":2: RecursionError"),
    "asserts": ("assert False", ":2: AssertionError"),
    "none": ("return None", "config = None"),
    "five": ("return 5", "config = 5"),
    "text": ("return 'digits'", "config = 'digits'"),
    "dict": ("return {'method': 'erm'}", "config = {'method': 'erm'}"),
    "bare": (
        "import ml_collections as m; return m.ConfigDict({'method': 'erm'})",
        "config.seeds",
    ),
}
CHANGES = {  # of `base_config()`
    "field": ("c.epoch = 3", ":4: AttributeError"),
    "kind": ("c.epochs = 'many'", ":4: TypeError"),
    "empty_field": ("c.epochs = None", "config.epochs = None"),
    "empty_section": ("c.data = None", "config.data = None"),
    "source": ("c.data.source = 'npz:a\\0b'", "config.data.source = 'npz:a\\x00b'"),
    "nesting": ("c.data = {}", "config.data"),
}
BASE = """from varmixup_jax.config import base_config
def get_config():
    c = base_config()
    {}
    return c
"""
RECIPES = FILES | {k: (f"def get_config():\n    {body}\n", m) for k, (body, m) in BODIES.items()}
RECIPES |= {name: (BASE.replace("{}", change, 1), m) for name, (change, m) in CHANGES.items()}


@pytest.mark.parametrize("name", RECIPES)
def test_refused_recipes(name, refuses_run, tmp_path):
    content, message = RECIPES[name]
    write(f"{name}.py", content)(tmp_path)
    refuses_run([f"--config={tmp_path / name}.py"], message)


def test_a_refusal_of_the_package_names_its_field_and_not_the_recipes_line(run, tmp_path, capsys):
    line = "from varmixup_jax.config import method_argument; method_argument('varmixp', 'erm')"
    write("calls.py", f"def get_config():\n    {line}\n")(tmp_path)
    assert run([f"--config={tmp_path / 'calls'}.py"]) == 2
    assert capsys.readouterr().err.startswith("error: config argument = 'varmixp': must be one of")
