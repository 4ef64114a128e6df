"""The reader of compiled GPU programs, on a small program whose figures are worked out by hand."""

import math
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "benchmarks" / "hlo_kernels.py").is_file():
    pytest.skip("benchmarks/ is not part of this installation", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import gpu_program  # noqa: E402
from benchmarks.hlo_kernels import Kernel, read, size  # noqa: E402

# A step: a convolution and its two gradients at stride 2, an element-wise kernel of two results, a
# reduction, an inner loop of 7 rounds, a conditional, slices. Before it: a copy, a loop that fills.
STORED = Path(__file__).with_name("gpu_program.hlo")
IMAGE, OUT, KERNEL = 2 * 8 * 16 * 16 * 4, 2 * 8 * 8 * 8 * 6, 2 * 6 * 3 * 3 * 4
FLOP = 2 * (8 * 8 * 8 * 6) * (3 * 3 * 4)  # for each result, 36 products and sums


def test_kernels_bytes_and_flop_of_one_step():
    assert read(STORED.read_text()) == [
        Kernel("conv.1", "convolution, forward", IMAGE + KERNEL + OUT, FLOP),
        Kernel("conv.2", "convolution, weights", IMAGE + OUT + KERNEL, FLOP),
        Kernel("conv.3", "convolution, image", OUT + KERNEL + IMAGE, FLOP),
        Kernel("loop_pair_fusion", "element-wise", OUT + 3072 * (4 + 1), 0),
        Kernel("input_reduce_fusion", "reduction", 3072 * 4 + 6 * 4, 0),
        Kernel("loop_add_fusion", "element-wise", 400, 0, runs=7),
        Kernel("loop_a_fusion", "element-wise", 80, 0),
        Kernel("loop_b_fusion", "element-wise", 80, 0),
        Kernel("loop_slice_fusion", "element-wise", 4 * (10 + 20 + 1 + 50), 0),
    ]


def test_a_program_without_a_loop_is_its_entry():
    assert read("ENTRY %main (a: f32[2]) -> f32[2] {\n  ROOT %b = f32[2]{0} copy(%a)\n}") == [
        Kernel("b", "element-wise", 8, 0)
    ]
    with pytest.raises(ValueError, match="ENTRY"):
        read("no program")


@pytest.mark.parametrize(
    ("type_", "bytes_"),
    [
        ("f32[2,3]{1,0}", 24),
        ("(bf16[4]{0}, pred[3]{0}, u8[])", 12),
        ("f8e4m3fn[16]{0}", 16),
        ("token[]", 0),
        ("s32[]", 4),
    ],
)
def test_sizes_of_types(type_, bytes_):
    assert size(type_) == bytes_


def test_time_is_the_tightest_limit_and_each_run_counts():
    kernels = [
        Kernel("bytes", "element-wise", 43_000_000_000, 79),
        Kernel("products", "convolution, forward", 1, 7_900_000_000_000),
        Kernel("launch", "element-wise", 8, 0, runs=1000),
    ]
    found = gpu_program.price(kernels)
    assert found[:3] == (1002, 43_000_008_001, 7_900_000_000_079)
    assert math.isclose(found.seconds, 0.01 + 0.01 + 0.002)


def test_the_table_of_a_stored_program(capsys):
    gpu_program.main(["--parse", str(STORED), "--kinds", "--top", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| gpu_program | 15 | 0.00 | 0 |  | 0.03 |"
    assert sum(line.startswith("| … ") for line in lines) == 5
    assert "conv.1" in lines[-1]
