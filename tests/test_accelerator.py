"""The report on one accelerator: what fits the budget, how long XLA compiles, where the time goes."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "benchmarks" / "timing.py").is_file():
    pytest.skip("benchmarks/ is not part of this installation", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import accelerator, compiling, kernels, timing  # noqa: E402
from benchmarks.report import Report, arguments  # noqa: E402


@pytest.fixture
def clock(monkeypatch):
    """A clock that the pieces move."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(accelerator, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def piece(clock, name, seconds, takes):
    def run():
        clock.seconds += takes
        yield timing.figures(name, ("a", 1.0), ("b", 2.0), "s")

    return accelerator.Piece(name, run, seconds)


def report(tmp_path):
    args = arguments("x").parse_args(["--out", str(tmp_path / "x.json")])
    return Report("x", args, [])


def test_no_piece_starts_that_cannot_end(clock, tmp_path):
    todo = [
        piece(clock, "first", 50, takes=40),
        piece(clock, "too long", 60, takes=60),
        piece(clock, "fits", 50, takes=50),
        piece(clock, "nothing left", 1, takes=1),
    ]
    accelerator.within(report(tmp_path), todo, 100.0, 990.0)  # began ten seconds ago
    rows = json.loads((tmp_path / "x.json").read_text())["rows"]
    assert [row["what"] for row in rows] == ["first", "too long", "fits", "nothing left"]
    assert [row["error"] for row in rows] == [
        "",
        "not started: takes about 60 s, 50 s of the budget left",
        "",
        "not started: takes about 1 s, 0 s of the budget left",
    ]


def test_a_slower_device_needs_longer_for_all_pieces(clock, tmp_path):
    todo = [piece(clock, name, 20, takes=30) for name in "abc"]
    accelerator.within(report(tmp_path), todo, 80.0, 1000.0)
    a, b, c = json.loads((tmp_path / "x.json").read_text())["rows"]
    assert not a["error"]
    assert not b["error"]
    assert c["error"] == "not started: takes about 30 s, 20 s of the budget left"


def test_rows_are_kept_after_each_piece(clock, tmp_path):
    kept = []

    def looks():
        kept.extend(json.loads((tmp_path / "x.json").read_text())["rows"])
        yield timing.figures("later", ("a", 1.0), ("b", 2.0), "s")

    todo = [piece(clock, "first", 1, takes=1), accelerator.Piece("later", looks, 1)]
    accelerator.within(report(tmp_path), todo, 100.0, 1000.0)
    assert [row["what"] for row in kept] == ["first"]


def test_pieces_are_in_the_order_of_their_weight_and_most_of_them_fit():
    todo = list(accelerator.pieces(accelerator.REAL, {}))
    assert [one.what for one in todo][:3] == ["ERM", "kernels of ERM", "torch.compile bf16"]
    assert sum(one.seconds for one in todo[:9]) < accelerator.BUDGET


def test_compiling_is_told_program_by_program():
    with compiling.compile_times() as programs:
        jax.jit(lambda x: x * 3.0 + 1.0)(jnp.zeros(7))
    assert any("lambda" in name for name, _ in programs)
    assert all(seconds > 0.0 for _, seconds in programs)
    count = len(programs)
    jax.jit(lambda x: x * 5.0 + 1.0)(jnp.zeros(7))
    assert len(programs) == count  # no longer heard


def event(name, start, duration, operation=None):
    stats = [] if operation is None else [("hlo_op", operation)]
    return SimpleNamespace(name=name, start_ns=start, duration_ns=duration, stats=stats)


def test_kernels_of_a_gpu_are_those_of_its_streams():
    stream = [
        event("sm90_xmma_fprop_implicit_gemm_bf16", 0, 5e6, "cudnn-conv.1"),
        event("nchwToNhwcKernel", 5e6, 1e6, "cudnn-conv-bw-filter.2"),
        event("loop_convert_fusion_3", 6e6, 2e6, "loop_convert_fusion.3"),
        event("input_reduce_fusion", 8e6, 3e6, "input_reduce_fusion.1"),
        event("MemcpyD2D", 11e6, 1e6),
    ]
    planes = [
        SimpleNamespace(
            name="/device:GPU:0",
            lines=[
                SimpleNamespace(name="Stream #13(Compute)", events=stream),
                SimpleNamespace(name="XLA Ops", events=stream),
            ],
        ),
        SimpleNamespace(
            name="/host:CPU", lines=[SimpleNamespace(name="python", events=[event("x", 0, 9e9)])]
        ),
    ]
    found = kernels.kernels(planes)
    assert [(kernels.kind(name), seconds) for name, seconds in found] == [
        ("convolution, forward", 5e-3),
        ("convolution, weights", 1e-3),
        (kernels.REST, 2e-3),
        ("reduction", 3e-3),
        ("copy", 1e-3),
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cudnn-conv.20", "convolution, forward"),
        ("cudnn-conv-bw-input.19", "convolution, image"),
        ("cudnn-conv-bw-filter.38", "convolution, weights"),
        ("input_reduce_fusion.7", "reduction"),
        ("loop_convert_fusion.2", "element-wise"),
        ("loop_multiply_fusion", "element-wise"),
        ("gemm_fusion_dot.3", "matrix product"),
        ("loop_transpose_fusion", "copy"),
    ],
)
def test_names_of_a_program_for_a_gpu_say_what_its_kernels_do(name, kind):
    assert kernels.kind(name) == kind


def test_elsewhere_loops_and_calls_have_their_own_time_alone():
    events = [
        event("while.1", 0, 10e9, "while.1"),
        event("call.2", 1e9, 6e9, "call.2"),
        event("add.3", 2e9, 3e9, "add.3"),
        event("add.4", 8e9, 1e9, "add.4"),
        event("add.5", 10e9, 2e9, "add.5"),
        event("python", 0, 50e9),
    ]
    line = SimpleNamespace(name="tf_XLAPjRtCpuClient", events=events)
    found = kernels.kernels([SimpleNamespace(name="/host:CPU", lines=[line])])
    assert {name.split()[0]: seconds for name, seconds in found} == {
        "while.1": 3.0, "call.2": 3.0, "add.3": 3.0, "add.4": 1.0, "add.5": 2.0,
    }  # fmt: skip


def test_a_profile_holds_the_operations_of_a_loop():
    @jax.jit
    def program(x):
        return jax.lax.fori_loop(0, 20, lambda _, y: jnp.sin(y @ x), x)

    x = jnp.asarray(np.random.default_rng(0).normal(size=(200, 200)), jnp.float32)
    program(x).block_until_ready()
    found = kernels.profiled(lambda: program(x).block_until_ready())
    assert sum(busy.count for busy in found.values()) >= 20
    assert list(found) == sorted(found, key=lambda kind: -found[kind].seconds)
    assert all(busy.seconds >= 0.0 for busy in found.values())
