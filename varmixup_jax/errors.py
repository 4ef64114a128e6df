"""Reports errors of a command as one line and an exit code."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from jax.errors import JaxRuntimeError

from varmixup_jax import checks, cluster
from varmixup_jax.command_line import located
from varmixup_jax.runs.sweep import Diverged
from varmixup_jax.training.loop import Preempted
from varmixup_jax.validation import unknown_field

HEAD, TAIL = 1000, 150  # characters kept from the two ends of a long message
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)  # of errors caused by the disk


def exit_code(action: Callable[[], None], arguments: Sequence[str]) -> int:
    """Runs a command and turns its outcome into an exit code, and one line if that is not 0.

    0 done; 2 refused; 3 a loss stopped being finite; 4 the disk is full or broken; 5 another process
    was lost; 130 Ctrl-C; 143 SIGTERM. With `--debug` among the arguments errors are raised instead.
    """
    try:
        action()
    except Diverged as error:
        return refuse(error, 3, arguments)
    except Preempted as error:
        return refuse(error, 128 + error.signal, arguments)
    except KeyboardInterrupt:  # before the run installed its signal handlers
        return refuse(Preempted(), 130, arguments)
    except (ValueError, TypeError, OSError, JaxRuntimeError) as error:
        if not cluster.broke_off(error):
            return refuse(error, 4 if getattr(error, "errno", None) in DISK else 2, arguments)
        cluster.settle()  # does not return if another process is lost
        traceback.print_exc()
        return cluster.leave(1)
    return 0


def refuse(error: BaseException, code: int, arguments: Sequence[str]) -> int:
    """Prints the error in one line and returns `code`; with `--debug`, raises it."""
    if "--debug" in arguments:
        raise error
    print(f"error: {described(error, arguments)}", file=sys.stderr)
    return cluster.leave(code)


def recipe_of(arguments: Sequence[str]) -> Path | None:
    """The file that `--config=FILE[:WORDS]` or `--config FILE[:WORDS]` names; None without one.

    >>> recipe_of(["main", "--config=configs/digits.py:erm"]).as_posix()
    'configs/digits.py'
    """
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            following = arguments[index + 1] if index + 1 < len(arguments) else ""
            file = (value if equals else following).split(":")[0]
            return located(file) if file else None
    return None


def described(error: BaseException, arguments: Sequence[str]) -> str:
    """One line for an error of a command line, at most about `HEAD + TAIL` characters.

    For a field that does not exist the nearest names are given; an error inside the recipe begins
    with its file and line.
    """
    if not isinstance(error, (OSError, SystemExit)):
        unknown = unknown_field(arguments)
        if unknown is not None:
            return str(unknown)
    recipe = recipe_of(arguments)
    return (recipe and _in_recipe(error, recipe)) or _one_line(error)


def _in_recipe(error: BaseException, recipe: Path) -> str | None:
    """`file:line: type: text` for an error in the recipe's own code; None for any other.

    Errors raised by this package name the value itself: the line of the recipe would add nothing.
    """
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, ValueError) and Path(frames[-1].filename) == Path(checks.__file__):
        return None
    place = recipe.resolve()
    lines = [f.lineno for f in frames if Path(f.filename).resolve() == place]
    text = _one_line(error)
    if (
        isinstance(error, SyntaxError)
        and error.filename
        and Path(error.filename).resolve() == place
    ):
        lines, text = [error.lineno], error.msg
    if lines:
        return f"{recipe}:{lines[-1]}: {type(error).__name__}: {text}"
    return f"{recipe}: {text}" if any(f.name == "run_path" for f in frames) else None


def _one_line(error: BaseException) -> str:
    # str() of a LookupError is the repr of its text.
    text = str(error.args[0] if isinstance(error, LookupError) and error.args else error)
    text = " ".join(text.split()) or type(error).__name__
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]} ... {text[-TAIL:]}"
    return text
