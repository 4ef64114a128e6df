"""A full report on the speed of one accelerator, in under ten minutes.

    python -m benchmarks.accelerator [--out FILE] [--budget SECONDS] [--small]

CIFAR ResNet-18 in bfloat16 on 32x32 images stored on the device, the most important first: images
per second of the ERM step and their fraction of the device's peak, one program of many steps against
a dispatch for each; the step's busy time by kind of kernel; PyTorch (`torch.compile`, bfloat16
autocast, channels last) on the same device in the same run, if it is installed with CUDA; VarMixup
and the VAE's own step; the computed corruption evaluation of 10,000 images; attacks and a PGD-10
epoch; AugMix; other batch sizes; eager PyTorch. Each piece reports its XLA compile time.

A piece is skipped if it would not end within `--budget` seconds, estimated from its time on an H200
and from how much longer than that earlier pieces took; a row names what was skipped. A piece that
fails leaves its error in its row. The JSON file is written after each piece. `--small` runs it all in
miniature, on a CPU too.

Peaks are those of `benchmarks/flops.py`: fractions are of the *sustained* peak (790 TFLOP/s for an
H100 or H200, whose nominal peak is 989).
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import jax
from jax.experimental.compilation_cache import compilation_cache

from benchmarks import accelerator_pieces as measure
from benchmarks.accelerator_pieces import Sizes
from benchmarks.compiling import compile_times
from benchmarks.report import Report, arguments
from benchmarks.settings import NETS
from benchmarks.timing import Row, figures
from varmixup_jax import checks, corruptions

BUDGET = 540.0  # seconds
REAL = Sizes(
    NETS["r18"]._replace(batch=512),
    512,
    (1024, 256, 128),
    (1, 10, 50),
    ((32, 1, 16), (64, 2, 16)),
    256,
    ("augmix", "mixup"),
    10_000,
    1000,
    tuple(corruptions.NAMES),
    tuple(corruptions.SEVERITIES),
)
SMALL = Sizes(NETS["toy"], 16, (), (1, 2), ((4, 1, 8),), 16, (), 16, 8, ("brightness",), (1, 5))


class Piece(NamedTuple):
    """A part of the report.

    Attributes:
      what: its name.
      run: yields its rows.
      seconds: its time on an H200, including compilation, with some margin.
    """

    what: str
    run: Callable[[], Iterable[Row]]
    seconds: float


def pieces(sizes: Sizes, clock: dict) -> Iterator[Piece]:
    """What is measured, the most important first."""
    torch = partial(measure.against_torch, sizes, clock)
    yield Piece("ERM", partial(measure.throughput, sizes, clock, sizes.batch), 60)
    yield Piece("kernels of ERM", partial(measure.profile, sizes), 20)
    yield Piece("torch.compile bf16", partial(torch, sizes.batch, compiled=True), 45)
    for vae in sizes.vaes:
        yield Piece(f"VarMixup, VAE {vae[0]} wide", partial(measure.vicinal, sizes, clock, vae), 50)
    yield Piece("corruption evaluation", partial(measure.evaluation, sizes), 55)
    for vae in sizes.vaes:
        yield Piece(f"VAE {vae[0]} wide", partial(measure.vae_step, sizes, clock, vae), 45)
    yield Piece("attacks", partial(measure.attacked, sizes, clock), 50)
    for method in sizes.others:
        yield Piece(method, partial(measure.against_erm, sizes, clock, method), 45)
    for batch in sizes.batches:
        yield Piece(f"ERM, batch {batch}", partial(measure.throughput, sizes, clock, batch), 60)
    yield Piece("torch eager bf16", partial(torch, sizes.batch, compiled=False), 30)


def main(argv: list[str] | None = None) -> Report:
    """Prints the table."""
    began = time.monotonic()
    parser = arguments(__doc__)
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds (default 540)")
    args = parser.parse_args(argv)
    checks.positive(**{"--budget": args.budget})
    # Leaves device memory for PyTorch; read when JAX starts its backend.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.5")
    sizes = SMALL if args.small else REAL
    clock = {"repeats": args.repeats, "seconds": args.seconds}
    with tempfile.TemporaryDirectory() as cache, _cached(cache):
        report = Report("accelerator", args, argv)
        within(report, pieces(sizes, clock), math.inf if args.small else args.budget, began)
    return report


def within(report: Report, todo: Iterable[Piece], budget: float, began: float) -> None:
    """Runs pieces in order, except those that would not end `budget` seconds after `began`."""
    slower = 1.0  # time relative to an H200
    for piece in todo:
        start = time.monotonic()
        left, needs = began + budget - start, slower * piece.seconds
        if needs > left:
            why = f"not started: takes about {needs:.0f} s, {max(left, 0):.0f} s of the budget left"
            report.keep([Row(piece.what, error=why)])
            continue
        report.piece(piece.what, partial(_with_compiling, piece))
        slower = max(slower, (time.monotonic() - start) / piece.seconds)


def _with_compiling(piece: Piece) -> Iterator[Row]:
    with compile_times() as programs:
        yield from piece.run()
    if programs:
        name, longest = max(programs, key=lambda program: program[1])
        in_all = (f"all {len(programs)} programs", sum(seconds for _, seconds in programs))
        yield figures(f"{piece.what}, compiling", in_all, (f"longest, {name}", longest), "s")


@contextlib.contextmanager
def _cached(folder: str) -> Iterator[None]:
    """Programs shared by several pieces are compiled once; nothing is reused from another run."""
    settings = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


if __name__ == "__main__":
    main()
