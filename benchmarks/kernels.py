"""Where a program spends its time: busy time by kind of kernel, from `jax.profiler`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax

# Named as in `hlo_kernels`. The first match counts, in "operation kernel": XLA names the operation;
# cuDNN, cuBLAS or XLA the kernel.
KINDS = (
    ("convolution, weights", r"wgrad|bw-filter|bwd_filter"),
    ("convolution, image", r"dgrad|bw-input|bwd_data"),
    ("convolution, forward", r"conv(?!ert)|fprop|implicit|winograd"),
    ("matrix product", r"gemm|dot|cublas|nvjet|cutlass"),
    ("copy", r"mem(cpy|set)|copy|transpose"),
    ("reduction", r"reduc"),
)
REST = "element-wise"


class Busy(NamedTuple):
    """How long kernels of one kind ran, in seconds, and how many there were."""

    seconds: float
    count: int


def profiled(call: Callable[[], None]) -> dict[str, Busy]:
    """Busy time by kind of kernel while `call` runs, the longest first.

    Args:
      call: returns when its work is done; call it once beforehand, so that nothing is compiled.

    Raises:
      RuntimeError: the profiler saw no kernel.
    """
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            call()
        files = sorted(Path(folder).rglob("*.xplane.pb"))
        found: dict[str, Busy] = {}
        for file in files:
            for name, seconds in kernels(jax.profiler.ProfileData.from_file(str(file)).planes):
                before = found.get(kind(name), Busy(0.0, 0))
                found[kind(name)] = Busy(before.seconds + seconds, before.count + 1)
    if not found:
        raise RuntimeError("the profiler saw no kernel")
    return dict(sorted(found.items(), key=lambda item: -item[1].seconds))


def kind(name: str) -> str:
    """The kind of a kernel, from the names of its operation and itself.

    >>> kind("cudnn-conv-bw-filter.3 sm90_xmma_wgrad_implicit_gemm_bf16")
    'convolution, weights'
    >>> kind("input_reduce_fusion.12"), kind("loop_convert_fusion"), kind("gemm_fusion_dot.1")
    ('reduction', 'element-wise', 'matrix product')
    """
    return next((kind for kind, words in KINDS if re.search(words, name.lower())), REST)


def kernels(planes: Iterable[Any]) -> list[tuple[str, float]]:
    """Name and own time, in seconds, of each kernel of a profile.

    On a GPU those are the events of its streams; elsewhere XLA's operations, where the time of loops
    and calls includes what runs inside them, which is subtracted.
    """
    found = []
    for plane in planes:
        gpu = plane.name.startswith("/device:GPU")
        for line in plane.lines:
            if gpu and not line.name.startswith("Stream"):
                continue
            events = []
            for event in line.events:
                operation = dict(event.stats).get("hlo_op")
                if gpu or operation is not None:
                    name = f"{operation or ''} {event.name}".strip()
                    events.append((event.start_ns, event.duration_ns, name))
            found += own_times(events)
    return found


def own_times(events: Iterable[tuple[float, float, str]]) -> list[tuple[str, float]]:
    """Name and own seconds of events (start, duration, name; ns) that may be nested.

    >>> own_times([(0, 10e9, "while"), (1e9, 2e9, "a"), (4e9, 5e9, "b"), (20e9, 1e9, "c")])
    [('while', 3.0), ('a', 2.0), ('b', 5.0), ('c', 1.0)]
    """
    found: list[list[Any]] = []
    around: list[tuple[float, int]] = []  # ends and indices of the open events
    for start, duration, name in sorted(events, key=lambda event: (event[0], -event[1])):
        while around and around[-1][0] <= start:
            around.pop()
        if around:
            found[around[-1][1]][1] -= duration / 1e9
        around.append((start + duration, len(found)))
        found.append([name, duration / 1e9])
    return [(name, seconds) for name, seconds in found]
