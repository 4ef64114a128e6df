"""The cost of a training step on a GPU, from the program that XLA compiles for it, without a GPU.

    pip install -e '.[gpu-program]'              # about 5 GB, Python >= 3.12: an environment of its own
    python -m benchmarks.gpu_program [--method M ...] [--kinds] [--top N] [--hlo DIR]
    python -m benchmarks.gpu_program --parse FILE.hlo

XLA can compile for a card from its description alone. Only the choice of cuDNN's algorithms needs the
card itself; fusions, layouts, the number of kernels and the bytes that each moves do not. A kernel's
time at the limit is the longest of its bytes at the card's copy speed, its FLOP at the sustained peak
and two microseconds, the minimum for a launch. "vae" and "vae_adversarial" are the steps of the VAEs,
with batches of half the size.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from benchmarks.hlo_kernels import Kernel, read

# NVIDIA H200: measured copy speed and sustained dense bfloat16 (`benchmarks/flops.py`).
BYTES_PER_SECOND, FLOP_PER_SECOND, LAUNCH_SECONDS = 4.3e12, 790e12, 2e-6
H200 = """gpu_device_info { threads_per_block_limit: 1024 threads_per_warp: 32
shared_memory_per_block: 49152 shared_memory_per_core: 233472 threads_per_core_limit: 2048
core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
block_dim_limit_z: 65535 memory_bandwidth: 4800000000000 l2_cache_size: 62914560
clock_rate_ghz: 1.98 device_memory_size: 150000000000 shared_memory_per_block_optin: 232448
cuda_compute_capability { major: 9 } registers_per_core_limit: 65536
registers_per_block_limit: 65536 } platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 } device_description_str: "NVIDIA H200"
"""
VAES = ("vae", "vae_adversarial", "vae_perceptual")


class Price(NamedTuple):
    """What kernels cost: how many, bytes moved, FLOP of convolutions, seconds at the limit."""

    kernels: int
    moved: int
    flop: int
    seconds: float


def price(kernels: Iterable[Kernel]) -> Price:
    """The sum over kernels, each counted as often as it runs."""
    kernels = list(kernels)
    return Price(
        sum(k.runs for k in kernels),
        sum(k.runs * k.moved for k in kernels),
        sum(k.runs * k.flop for k in kernels),
        sum(k.runs * _seconds(k) for k in kernels),
    )


def _seconds(kernel: Kernel) -> float:
    return max(kernel.moved / BYTES_PER_SECOND, kernel.flop / FLOP_PER_SECOND, LAUNCH_SECONDS)


def compiled(
    name: str, *, net: str, dtype: str, batch: int, vae: tuple[int, int, int], flat: bool = False
) -> Any:
    """The program of many steps of a method, or of a VAE, compiled for an H200.

    Args:
      name: a method, or one of `VAES`.
      net: one of `NETS`.
      dtype: of the computation.
      batch: examples per step (half of it for a VAE's).
      vae: width, blocks and latent size.
      flat: the parameters in one vector (`training/flat.py`).
    """
    import jax
    import numpy as np
    from jax.experimental import topologies

    from benchmarks import cases
    from benchmarks.settings import NETS
    from varmixup_jax.config import base_config
    from varmixup_jax.training.flat import make_flat_run
    from varmixup_jax.training.step import make_run, make_step
    from varmixup_jax.training.vae_loss import Adversary

    card = topologies.get_topology_desc(
        platform="cuda", topology_name="h200", target_config=H200, topology="1x1x1"
    )
    mesh = jax.sharding.Mesh(np.array(card.devices[:1]), ("device",))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    width, blocks, latent = vae
    case = cases.make_case(
        NETS[net],
        dtype=dtype,
        examples=2 * batch,
        vae_width=width,
        vae_blocks=blocks,
        latent_size=latent,
    )
    if name in VAES:
        attack = base_config().vae.adversary
        adversary = Adversary(**attack.to_dict()) if name == "vae_adversarial" else None
        perceptual = 0.01 if name == "vae_perceptual" else 0.0
        loss, state, fixed = cases.vae_parts(case, adversary=adversary, perceptual=perceptual)
        batch //= 2
    else:
        loss, state, fixed = cases.method_parts(case, name)
    order = cases.batches(case, batch, 4)
    shapes = jax.eval_shape(lambda: (state, fixed, order, np.int32(4), jax.random.key(0)))
    tx = cases.optimizer()
    run = make_flat_run(loss, tx, state.params) if flat else make_run(make_step(loss, tx))
    run = jax.jit(run, donate_argnums=0, in_shardings=place, out_shardings=place)
    # The package has different code for CPUs, and asks JAX which backend it runs on.
    with mock.patch.object(jax, "default_backend", return_value="gpu"):
        return run.lower(*shapes).compile()


def line(name: str, found: Price, memory: int | None = None) -> str:
    """A row of the table, in Markdown."""
    shown = "" if memory is None else f"{memory / 1e9:.2f}"
    return (
        f"| {name} | {found.kernels} | {found.moved / 1e9:.2f} | {found.flop / 1e9:,.0f} "
        f"| {shown} | {found.seconds * 1e3:.2f} |"
    )


HEADER = "| step | kernels | GB moved | GFLOP | temporary GB | ms at the limit |"


def show(name: str, kernels: list[Kernel], *, memory: int | None, kinds: bool, top: int) -> None:
    """Prints a step's row, its kinds of kernels and the kernels that move the most bytes."""
    print(line(name, price(kernels), memory), flush=True)
    if kinds:
        parts = {kind: price(k for k in kernels if k.kind == kind) for kind in _kinds(kernels)}
        for kind, part in sorted(parts.items(), key=lambda pair: -pair[1].seconds):
            print(line(f"… {kind}", part))
    for kernel in sorted(kernels, key=lambda k: -k.runs * k.moved)[:top]:
        moved = f"{kernel.moved / 1e6:.1f} MB"
        print(f"  {moved:>11} × {kernel.runs:<3} {kernel.kind:<24} {kernel.name}")


def _kinds(kernels: list[Kernel]) -> set[str]:
    return {kernel.kind for kernel in kernels}


def main(argv: list[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", nargs="*", help=f"methods, or {', '.join(VAES)}; default: all")
    parser.add_argument("--net", default="r18", help="of benchmarks/settings.py")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--batch", type=int, default=512, help="of a VAE's step, half of it")
    parser.add_argument("--vae", default="64,2,16", help="width, blocks, latent size")
    parser.add_argument("--flat", action="store_true", help="the parameters in one vector")
    parser.add_argument("--kinds", action="store_true", help="a line for each kind of kernel")
    parser.add_argument(
        "--top", type=int, default=0, help="how many of the largest kernels to list"
    )
    parser.add_argument("--hlo", type=Path, help="directory for the programs' text")
    parser.add_argument("--parse", type=Path, help="read this program instead of compiling")
    args = parser.parse_args(argv)
    sizes = tuple(int(part) for part in args.vae.split(","))
    settings = {"net": args.net, "dtype": args.dtype, "batch": args.batch, "vae": sizes}
    shown = {"kinds": args.kinds, "top": args.top}
    print(f"{HEADER}\n|{'---|' * HEADER.count(' | ')}---|")
    if args.parse:
        show(args.parse.stem, read(args.parse.read_text()), memory=None, **shown)
        return
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # CUDA's libraries without a driver
    os.environ["JAX_PLATFORMS"] = "cpu"
    from varmixup_jax.methods import METHODS

    for name in args.method or [*METHODS, *VAES]:
        if name not in {*METHODS, *VAES}:
            sys.exit(f"--method {name}: must be one of {', '.join([*METHODS, *VAES])}")
        program = compiled(name, flat=args.flat, **settings)
        text = program.as_text()
        if args.hlo:
            args.hlo.mkdir(parents=True, exist_ok=True)
            (args.hlo / f"{name}.hlo").write_text(text)
        memory = program.memory_analysis().temp_size_in_bytes
        show(name, read(text), memory=memory, **shown)


if __name__ == "__main__":
    main()
