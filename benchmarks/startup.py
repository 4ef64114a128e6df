"""Time from the start of a process to the end of the first training step, and to draw a state.

    python -m benchmarks.startup [--net r8] [--out FILE]

Each start is a separate process: ours with an empty compilation cache (cold), ours again (as the
command line does at every start but the first), and PyTorch. The state of a ResNet-18 is drawn in our
process after the first step, so that importing JAX is not counted.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator

from benchmarks.child import run_child
from benchmarks.report import Report, arguments
from benchmarks.timing import Row, compared, figures

COLD, CACHED, TORCH = "ours, cold", "ours, cached", "torch"


def measure(net: str, repeats: int) -> Iterator[Row]:
    """Cold, cached and PyTorch starts, taking turns."""
    times: dict[str, list[float]] = {COLD: [], CACHED: [], TORCH: []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            env = {"JAX_COMPILATION_CACHE_DIR": cache}
            for name in (COLD, CACHED):
                times[name].append(run_child("jax_child", net, env=env)["wall"])
        times[TORCH].append(run_child("torch_child", net)["wall"])
    what = f"{net} ERM, process start to end of first step"
    yield compared(what, times, CACHED, COLD, unit="s", goal=1 / 3)
    yield compared(what, times, COLD, TORCH, unit="s")
    yield compared(what, times, CACHED, TORCH, unit="s")


def states(repeats: int) -> Iterator[Row]:
    """Seconds to draw a ResNet-18's variables, against the goal of one second."""
    seen: dict[str, list[float]] = {COLD: [], CACHED: []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            env = {"JAX_COMPILATION_CACHE_DIR": cache}
            for values in seen.values():
                values.append(run_child("jax_child", "toy", "--state", env=env)["state"])
    for name, values in seen.items():
        yield figures(
            "ResNet-18 variables ready",
            (name, statistics.median(values)),
            ("goal", 1.0),
            "s",
            goal=1.0,
            repeats=repeats,
        )


def main(argv: list[str] | None = None) -> Report:
    """Prints the table."""
    parser = arguments(__doc__)
    parser.add_argument("--net", default="r8", choices=["r8", "r18"])
    args = parser.parse_args(argv)
    report = Report("startup", args, argv)
    net = "toy" if args.small else args.net
    report.piece("start-up", lambda: measure(net, args.repeats))
    report.piece("ResNet-18 state", lambda: states(args.repeats))
    return report


if __name__ == "__main__":
    main()
