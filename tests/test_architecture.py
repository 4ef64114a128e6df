"""Imports go down only, and the guarded libraries stay in their rooms."""

import ast
from pathlib import Path

import pytest

import varmixup_jax

ROOT = Path(__file__).resolve().parents[1] / "varmixup_jax"
FLOORS = {
    "__main__": 9,
    "cli": 9,
    "launch": 8,
    "main": 7,
    "command_line": 7,
    "evaluate": 7,
    "evaluate_model": 7,
    "errors": 7,
    "runs": 6,
    "config": 6,
    "fields": 6,
    "sections": 6,
    "declare": 1,
    "saved_config": 1,
    "validation": 6,
    "training": 5,
    "evaluation": 5,
    "report": 5,
    "methods": 4,
    "vicinal": 3,
    "attacks": 3,
    "data": 3,
    "models": 2,
    "corruptions": 2,
    "divergences": 2,
    "losses": 2,
    "mmd": 2,
    "cluster": 1,
    "compilation": 1,
    "types": 1,
    "atomic_files": 1,
    "metric_names": 1,
    "logits_file": 1,
    "checks": 1,
    "image_files": 1,
    "version": 0,
}
ROOMS = {
    "orbax": {"training/checkpoints.py", "cluster"},
    "tensorflow_datasets": {"data"},
    "jinja2": {"report"},
    "matplotlib": {"report"},
    "pandas": {"report"},
    "flax": {"models", "runs/setup.py"},
}
FILES = sorted(ROOT.rglob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_only(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imports(path):
        parts = name.split(".")
        assert parts[0] != "tensorflow"
        assert "_src" not in parts, f"private import {name}"
        if parts[0] in ROOMS:
            allowed = ROOMS[parts[0]]
            here = path.relative_to(ROOT).as_posix()
            assert here in allowed or room in allowed, f"{here} imports {name}"
        if parts[0] != "varmixup_jax" or len(parts) < 2 or room == "__init__":
            continue
        if parts[1] in FLOORS and parts[1] != room:
            assert FLOORS[parts[1]] <= FLOORS[room], f"{room} imports {name}, a floor above it"


# `jax.grad` differentiates the first argument, `lax.scan` carries it, a compiled run donates it.
CARRIED = {"loss", "risk", "step", "run", "call", "again", "one_start"}


def draws_late(path):
    """Functions with a positional `key`, a typed JAX key, that is not their first argument."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name not in CARRIED:
            taken = [*node.args.posonlyargs, *node.args.args]
            taken = taken[1:] if taken and taken[0].arg in ("self", "cls") else taken
            for argument in taken[1:]:
                if argument.annotation and ast.unparse(argument.annotation) == "Key":
                    yield node.name


def test_the_key_comes_first():
    late = {(str(path.relative_to(ROOT)), *draws_late(path)) for path in FILES}
    assert {found for found in late if len(found) > 1} == set()


def test_report_never_imports_jax():
    for path in (ROOT / "report").rglob("*.py"):
        assert not any(name.split(".")[0] in ("jax", "flax", "optax") for name in imports(path))


@pytest.mark.parametrize("name", varmixup_jax.__all__)
def test_public_names_exist_and_are_documented(name):
    thing = getattr(varmixup_jax, name)
    if callable(thing):
        assert thing.__doc__


def test_unknown_public_name():
    with pytest.raises(AttributeError, match="no attribute 'mixx'"):
        _ = varmixup_jax.mixx
