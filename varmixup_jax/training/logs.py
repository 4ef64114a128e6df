"""What a run logs while it trains: `metrics.jsonl`, a live line on the terminal, TensorBoard.

The file is the record; terminal and TensorBoard only mirror it. Nothing here imports JAX, so values
must be host numbers when they arrive: the training loop decides when to wait for the device.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from varmixup_jax import checks
from varmixup_jax.atomic_files import dumps, loads, replace_text
from varmixup_jax.checks import one_line
from varmixup_jax.training.heartbeat import SAY_SECONDS, ticking

METRICS_FILE = "metrics.jsonl"
# What the terminal shows of a line, in this order: key of the metric, its label, its format.
SHOWN = (
    ("loss", "loss", "{:.4f}"),
    ("accuracy", "soft acc", "{:.1%}"),
    ("clean_accuracy", "clean acc", "{:.1%}"),
    ("images_per_second", "img/s", "{:,.0f}"),
    ("val_accuracy", "val acc", "{:.1%}"),
    ("val_nll", "val nll", "{:.4f}"),
)

# On a narrow terminal only the bar and the time left stay.
CUT = Column(ratio=1, no_wrap=True, overflow="ellipsis")
VALIDATED = frozenset({"clean_accuracy", "val_accuracy"})  # keys of a line after a validation


class RunLog(ExitStack):
    """The log of one run, as a context manager over its directory.

    On a terminal one live line shows method, epoch, step, loss, accuracies, speed and time left;
    elsewhere (a CI log, a file) a plain line is printed every `every_seconds`, even if nothing is
    new, and for each validation. Until the first metrics arrive it says "compiling". Time left is
    (total - step) · elapsed / steps, with elapsed time and steps counted from then.

    Args:
      directory: the run's directory; None writes no file (the processes other than the first).
      resume_step: lines of `metrics.jsonl` with a greater step are dropped, as is a last line cut
        short by a crash. None starts a new file.
      method: shown in front of every line.
      total_steps: steps of the whole run; None leaves out the time left.
      total_epochs: epochs of the whole run; None shows the epoch alone.
      quiet: print nothing at all.
      every_seconds: time between plain lines, seconds, >= 0.
      console: where to print; default a `rich` console on standard error.

    Raises:
      ValueError: a negative `resume_step`, or a kept line of an old log that is not JSON.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place, RunLog(place, quiet=True) as log:
    ...     log.metrics(10, loss=0.5)
    ...     (Path(place) / METRICS_FILE).read_text()
    '{"step": 10, "loss": 0.5}\\n'
    """

    def __init__(
        self,
        directory: Path | str | None,
        resume_step: int | None = None,
        *,
        method: str = "",
        total_steps: int | None = None,
        total_epochs: int | None = None,
        quiet: bool = False,
        every_seconds: float = SAY_SECONDS,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        super().__init__()
        checks.non_negative(every_seconds=every_seconds)
        if resume_step is not None:
            checks.whole(0, resume_step=resume_step)
        self._directory = None if directory is None else Path(directory)
        self._first_step = resume_step or 0
        self._resume_step = resume_step
        self._method, self._total = method, total_steps
        self._total_epochs = total_epochs
        self._quiet, self._every, self._clock = quiet, every_seconds, clock
        self._console = console or Console(stderr=True)
        self._file: TextIO | None = None
        self._board: Any = None
        self._progress: Progress | None = None
        self._shown: dict[str, Any] = {}
        self._step = self._first_step
        self._last_line = self._latest = clock()
        self._first: tuple[int, float] | None = None  # step and time of the first metrics
        self._lock = threading.RLock()  # the heartbeat shows lines too

    def __enter__(self) -> Self:
        with ExitStack() as opened:  # closed again if a part fails
            if self._directory is not None:
                self._directory.mkdir(parents=True, exist_ok=True)
                path = self._directory / METRICS_FILE
                _keep_until(path, self._resume_step)
                self._file = opened.enter_context(path.open("a", encoding="utf-8"))
                self._board = _tensorboard(self._directory / "tensorboard", self._resume_step)
                if self._board is not None:
                    opened.callback(self._board.close)
            self._last_line = self._latest = self._clock()
            if not self._quiet:
                self._begin_to_show(opened)
            self.push(opened.pop_all())
        return self

    def _begin_to_show(self, opened: ExitStack) -> None:
        if self._console.is_terminal:
            self._progress = Progress(
                BarColumn(bar_width=16),
                TextColumn("{task.fields[left]}", markup=False),
                TextColumn("{task.description}", markup=False, table_column=CUT),
                console=self._console,
                transient=True,
                expand=True,
            )
            self._task = self._progress.add_task(
                self._line(), total=self._total, completed=self._first_step, left=""
            )
            opened.enter_context(self._progress)
        else:
            self.say(self._line())
        opened.enter_context(ticking(self._tick))

    def metrics(self, step: int, **values: float) -> None:
        """Appends one line to `metrics.jsonl`, flushes it, and shows it.

        Args:
          step: steps taken so far, a whole number >= 0.
          **values: anything `float()` takes; accuracies are fractions, `loss` and `val_nll` are in
            nats. A value that is not finite is written as null.
        """
        checks.whole(0, step=step)
        numbers = {name: float(value) for name, value in values.items()}
        if self._file is not None:
            self._file.write(dumps({"step": int(step), **numbers}) + "\n")
            self._file.flush()
        if self._board is not None:
            for name, number in numbers.items():
                self._board.add_scalar(name, number, int(step))
        if not self._quiet:
            self._show(int(step), numbers)

    def say(self, text: str) -> None:
        """Prints a line above the live one (nothing in quiet mode)."""
        if not self._quiet:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _show(self, step: int, numbers: Mapping[str, float]) -> None:
        with self._lock:
            self._shown.update(numbers)
            self._step, self._latest = step, self._clock()
            self._first = self._first or (step, self._latest)
            self._refresh(now=bool(VALIDATED & numbers.keys()))

    def _tick(self) -> None:
        with self._lock:
            self._refresh()

    def _refresh(self, now: bool = False) -> None:
        """Updates the live line, or prints one if it is time."""
        if self._progress is not None:
            left, text = self._left(), self._line()
            self._progress.update(self._task, completed=self._step, description=text, left=left)
        elif now or self._clock() - self._last_line >= self._every:
            self.say(self._line())
            self._last_line = self._clock()

    def _line(self) -> str:
        step, age = self._step, self._clock() - self._latest
        parts = [self._method] if self._method else []
        if "epoch" in self._shown:
            of = f"/{self._total_epochs}" if self._total_epochs else ""
            parts.append(f"epoch {self._shown['epoch']:g}{of}")
        parts.append(f"step {step}/{self._total}" if self._total else f"step {step}")
        if self._first is None:
            return "  ".join([*parts, "compiling", *([_clock_text(age)] if age >= 1 else [])])
        for key, label, form in SHOWN:
            if key in self._shown:
                parts.append(f"{label} {form.format(self._shown[key])}")
        if self._progress is None and (left := self._left()):
            parts.append(left)
        if age >= max(self._every, 1.0):
            parts.append(f"({age:.0f} s ago)")
        return "  ".join(parts)

    def _left(self) -> str:
        if self._first is None or not self._total or self._step <= self._first[0]:
            return ""
        taken = self._step - self._first[0]
        left = (self._total - self._step) * (self._latest - self._first[1]) / taken
        return f"left {_clock_text(left)}"


def _keep_until(path: Path, step: int | None) -> None:
    """Rewrites a log with its lines up to `step`; a new run (None) begins with an empty log."""
    if step is None or not path.exists():
        replace_text(path, "")
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = []
    for number, line in enumerate(lines, start=1):
        if number == len(lines) and not line.endswith("\n"):
            break  # the process died while writing this line
        try:
            if loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}:{number}: not a line of metrics ({error})") from None
    replace_text(path, "".join(kept))


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _tensorboard(directory: Path, resume_step: int | None) -> Any:
    """An event writer; None if the extra `varmixup_jax[tensorboard]` is not installed."""
    # tensorboardX imports PyTorch if it is installed, which takes seconds; curves do not need it.
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    except Exception as error:  # e.g. of a dependency in an incompatible version
        warnings.warn(f"no TensorBoard curves: {one_line(error)}", stacklevel=3)
        return None
    finally:
        if hidden:
            del sys.modules["torch"]
    return SummaryWriter(str(directory), purge_step=resume_step)
