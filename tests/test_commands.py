"""Every command that the documents show is understood: its flags, its recipe, its fields, its files.

They are collected from the Markdown, from the heads of recipes and launch files and from the help texts,
and go through the parsers that run them; what needs no data, GPU or cluster runs as it is printed.
"""

import configparser
import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

import varmixup_jax.corruptions.__main__ as corrupt
import varmixup_jax.evaluate as evaluate
import varmixup_jax.report.__main__ as report
from varmixup_jax import cli, evaluate_model, main
from varmixup_jax.command_line import read_config
from varmixup_jax.launch import sweep
from varmixup_jax.validation import validate

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmarks", "configs", "docs", "examples", "launch", "results", "tests")
SHELLS = ("", "bash", "sh", "shell", "console")
OURS = re.compile(r"varmixup |python3? |pip install |sbatch |bash |timeout ")
PATTERN = re.compile(r"\[.*\]|\.\.\.|<\w+>|NAME\b|\bRUN\b")  # of a usage, not of a command
ASSIGNED = re.compile(r"[A-Z_]+=")
MODULES = {f"varmixup_jax.{module}".removesuffix(".__main__"): name
           for name, (module, _) in cli.COMMANDS.items()}  # fmt: skip


def blocks(text):
    """The lines of shell blocks, fenced or indented, and code in lines that begins as a command."""
    fence = None
    for line in text.replace("\\\n", " ").splitlines():
        mark = re.match(r" *(?:`{3,}|~{3,})\s*(.*)", line)
        if mark:
            fence = mark[1].strip() if fence is None else None
        elif fence in SHELLS or (fence is None and re.match(r"(?:#|) {4}", line)):
            yield line.lstrip("# ").removeprefix("$ ")
        elif fence is None:
            inline = re.findall(r"`([^`]+)`", line)
            yield from (code for code in inline if OURS.match(code) and "--" in code)


def commands(text):
    """Each command as a list of words; what is no command of this package is left out."""
    for line in blocks(text):
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|")
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:  # prose with an apostrophe
            continue
        while words:
            end = next((i for i, word in enumerate(words) if set(word) <= set("&;|")), len(words))
            one, words = words[:end], words[end + 1 :]
            while one and ASSIGNED.match(one[0]):
                one.pop(0)
            if one and one[0] == "timeout":
                one = one[next(i for i, word in enumerate(one) if word.isdigit()) + 1 :]
            text = " ".join(one)
            if OURS.match(f"{text} ") and (one[0] == "pip" or not PATTERN.search(text)):
                yield one


def documents():
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "configs/*.py", "launch/*.*"):
        for path in sorted(ROOT.glob(pattern)):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    for name, (module, _) in cli.COMMANDS.items():
        text = getattr(importlib.import_module(f"varmixup_jax.{module}"), "DESCRIPTION", "")
        text += evaluate_model.DESCRIPTION if name == "evaluate" else ""
        yield f"varmixup {name} --help", text.replace("\n  ", "\n    ")


FOUND = {shlex.join(words): where for where, text in documents() for words in commands(text)}


@pytest.fixture
def readers_directory(tmp_path, monkeypatch):
    """Where a reader stands: a clone without its state."""
    for name in FOLDERS:
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)


def train(words):
    options, words = main.parser().parse(words)
    for word in words:
        if word.startswith("--config.eval.corruptions="):  # published files, which a reader has
            place = Path(word.split("=")[1])
            if place.name != "computed" and not place.is_absolute():
                place.mkdir(parents=True, exist_ok=True)
    if not options.modules:  # whose methods only their author knows
        validate(read_config(options.config, words), devices=1)


def understood(name, words):
    module = importlib.import_module(f"varmixup_jax.{cli.COMMANDS[name][0]}")
    if name == "train":
        train(words)
    elif name == "evaluate":
        if any(word.split("=")[0] in evaluate_model.SOURCES for word in words):
            evaluate_model.parser().parse_args(words)
        else:
            evaluate.changed_fields(evaluate.parser().parse(words)[1])
    elif name == "sweep":
        assert sweep.main([*words, "--dry_run"]) == 0
    elif hasattr(module, "parser"):
        module.parser().parse_args(words)
    else:
        assert module.main(words) == 0


def run(words):
    program, *words = words
    if program == "varmixup":
        name = next((n for n in cli.COMMANDS if words[: len(n.split())] == n.split()), None)
        if name is None:
            with pytest.raises(SystemExit, match="0"):
                cli.main(words)
        elif words[-1] != "--help":
            understood(name, words[len(name.split()) :])
    elif program == "pip":
        parsed = configparser.ConfigParser()
        parsed.read(ROOT / "setup.cfg")
        for extras in re.findall(r"(?:^|\s)(?:\.|varmixup_jax)\[(.*?)\]", " ".join(words)):
            assert set(extras.split(",")) <= set(parsed["options.extras_require"])
    elif words[0] == "-m" and words[1] == "varmixup_jax":
        run(["varmixup", *words[2:]])
    elif words[0] == "-m":
        name = MODULES.get(words[1].replace("launch.", "varmixup_jax.launch."))
        if name is None:
            assert importlib.util.find_spec(words[1]) is not None
        else:
            understood(name, words[2:])
    else:
        script = next(word for word in words if not word.startswith("-"))
        assert (ROOT / script).is_file()
        after = words[words.index(script) + 1 :]
        if "--" in after:
            after = after[after.index("--") + 1 :]
        if script.startswith("launch/"):
            train(after)


@pytest.mark.parametrize("command", FOUND, ids=lambda command: f"{FOUND[command]}: {command}")
def test_documented(command, readers_directory, capsys):
    try:
        run(shlex.split(command))
    except SystemExit as ended:
        pytest.fail(f"{FOUND[command]}: {command}: {ended}: {capsys.readouterr().err}")


@pytest.mark.parametrize(
    ("parser", "words"),
    [
        (evaluate.parser, "~/a --out=~/b"),
        (evaluate_model.parser, "--model=a:b --data=digits --out=~/b"),
        (evaluate_model.parser, "--logits=~/a --out=~/b"),
        (report.parser, "~/a --out=~/b --readme=~/c --picture=~/d"),
        (corrupt.parser, "make --images=~/a --out=~/b"),
    ],
)
def test_a_path_may_begin_with_the_home_directory(parser, words, monkeypatch):
    """A shell leaves the ~ behind --out= as it is: a directory of that name was made."""
    monkeypatch.setenv("HOME", "/home/of/mine")
    found = [str(value) for value in _flat(vars(parser().parse_args(words.split())).values())]
    assert not [text for text in found if "~" in text]
    assert sum(text.startswith("/home/of/mine/") for text in found) == words.count("~")


def _flat(values):
    for value in values:
        yield from value if isinstance(value, list) else [value]


def test_commands_of_every_kind_are_found():
    words = [shlex.split(command) for command in FOUND]
    for name in cli.COMMANDS:
        assert any(w[: 1 + len(name.split())] == ["varmixup", *name.split()] for w in words), name
    assert sum(where == "README.md" for where in FOUND.values()) >= 4
    assert ["bash", "launch/local.sh"] in [w[:2] for w in words]


@pytest.mark.parametrize(
    "command",
    [
        "varmixup train --config=digits --config.epoch=3",
        "varmixup train --config=digitz",
        "varmixup train --config=digits --workdr=x",
        "python -m varmixup_jax.main --config=configs/digits.py:varmixp",
        "varmixup evaluate runs/a --out=b --config.eval.bin=3",
        "varmixup report runs/a --ot=b",
        "varmixup sweep --config=digits --methods=ermm",
        "bash launch/local.sh -- --config=configs/digitz.py",
        "bash launch/locale.sh",
        "python -m benchmarks.nothing",
        "pip install -e '.[tests]'",
    ],
)
def test_what_is_wrong_is_noticed(command, readers_directory):
    with pytest.raises((AssertionError, AttributeError, ValueError, SystemExit)):
        run(shlex.split(command))
