"""MMD^2 by one matrix product against the broadcast difference, as in most published code.

    python -m benchmarks.mmd_forms [--sizes 128 512 1024 2048 4096] [--dim 512] [--out FILE]

Value and gradient of the unbiased rbf estimate between two samples `[B, d]`. The broadcast form
makes three `[B, B, d]` arrays, and their gradients; it is skipped for sizes whose arrays would not
fit in half of the free memory, and the row says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.report import Report, arguments
from benchmarks.timing import Row, alternate, compared
from varmixup_jax.mmd import make_kernel, mmd_squared

ARRAYS = 8  # of the size [B, B, d] that autograd holds at its peak, measured


def ours(a: np.ndarray, b: np.ndarray) -> Callable[[], None]:
    """Our value and gradient."""
    kernel = make_kernel("rbf", a.shape[1])
    run = jax.jit(jax.value_and_grad(lambda a, b: mmd_squared(a, b, kernel)))
    a, b = jnp.asarray(a), jnp.asarray(b)
    return lambda: jax.block_until_ready(run(a, b))


def theirs(a: np.ndarray, b: np.ndarray, form: str) -> Callable[[], None]:
    """PyTorch's value and gradient by one of the two forms."""
    import torch

    from benchmarks.torch_peers import mmd

    first, second = torch.tensor(a, requires_grad=True), torch.tensor(b)

    def call() -> None:
        first.grad = None
        mmd(first, second, form).backward()

    return call


def free_bytes() -> int:
    """Physical memory that is not in use."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def measure(size: int, dim: int, *, repeats: int, seconds: float) -> Iterator[Row]:
    """One batch size."""
    a, b = np.random.default_rng(0).normal(size=(2, size, dim)).astype(np.float32)
    variants = {"ours": ours(a, b), "torch dot": theirs(a, b, "dot")}
    needed = ARRAYS * 4 * size * size * dim
    fits = needed < free_bytes() / 2
    if fits:
        variants["torch broadcast"] = theirs(a, b, "broadcast")
    times = alternate(variants, repeats=repeats, seconds=seconds)
    what = f"MMD and gradient, B = {size}, d = {dim}"
    for peer in list(variants)[1:]:
        yield compared(what, times, "ours", peer)
    if not fits:
        yield Row(what, error=f"the broadcast form would need {needed / 2**30:.0f} GiB")


def main(argv: list[str] | None = None) -> Report:
    """Prints the table."""
    parser = arguments(__doc__, seconds=0.1)
    parser.add_argument("--sizes", type=int, nargs="*", default=[128, 256, 512, 1024, 2048, 4096])
    parser.add_argument("--dim", type=int, default=512)
    args = parser.parse_args(argv)
    report = Report("mmd_forms", args, argv)
    for size in [16] if args.small else args.sizes:
        report.piece(
            f"B = {size}",
            lambda size=size: measure(size, args.dim, repeats=args.repeats, seconds=args.seconds),
        )
    return report


if __name__ == "__main__":
    main()
