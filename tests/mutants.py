"""The mutants of `tests/mutants.toml`: small faults, each with the tests that must notice it."""

import ast
import functools
import tomllib
from pathlib import Path
from typing import NamedTuple

FILE = "tests/mutants.toml"


class Mutant(NamedTuple):
    """One fault.

    Attributes:
      name: unique.
      file: the file that is changed, relative to the root of the tree.
      text: what is replaced; it stands in the file exactly once.
      replacement: what stands there instead.
      breaks: what would be wrong, in a line.
      tests: files or node ids of which at least one test must fail.
    """

    name: str
    file: str
    text: str
    replacement: str
    breaks: str
    tests: tuple[str, ...]


def parse(text: str) -> list[Mutant]:
    """The mutants of a TOML text.

    Raises:
      ValueError: not TOML, or an entry with a field missing or too many.
    """
    found = []
    for number, entry in enumerate(tomllib.loads(text).get("mutant", []), start=1):
        if set(entry) != set(Mutant._fields):
            wrong = ", ".join(sorted(set(entry) ^ set(Mutant._fields)))
            raise ValueError(f"{entry.get('name', f'mutant {number}')}: fields {wrong}")
        found.append(Mutant(**{**entry, "tests": tuple(entry["tests"])}))
    return found


def mutated(mutant: Mutant, root: Path) -> str:
    """The text of the mutant's file with the fault in it.

    Raises:
      ValueError: the text to replace does not stand there exactly once.
      FileNotFoundError: there is no such file.
    """
    source = (root / mutant.file).read_text(encoding="utf-8")
    count = source.count(mutant.text)
    if count != 1:
        raise ValueError(f"{mutant.name}: its text stands {count} times in {mutant.file}")
    return source.replace(mutant.text, mutant.replacement)


def faults(mutant: Mutant, root: Path) -> list[str]:
    """What is wrong with an entry, without running anything; empty if nothing is."""
    try:
        ast.parse(mutated(mutant, root))
    except (ValueError, OSError, SyntaxError) as error:
        return [f"{mutant.name}: {error}"]
    found = []
    if mutant.text == mutant.replacement:
        found.append(f"{mutant.name}: the replacement is the text")
    if not mutant.breaks:
        found.append(f"{mutant.name}: does not say what it breaks")
    if not mutant.tests:
        found.append(f"{mutant.name}: names no tests")
    missing = [test for test in mutant.tests if not _exists(test, root)]
    return found + [f"{mutant.name}: no such test: {test}" for test in missing]


def _exists(test: str, root: Path) -> bool:
    path, *names = test.split("[")[0].split("::")
    if not (root / path).is_file():
        return False
    inside = _parsed(root / path).body
    for name in names:
        found = [node for node in inside if getattr(node, "name", None) == name]
        if not found:
            return False
        inside = found[0].body
    return True


@functools.cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
