"""Random crop and flip of a batch on the device, against PyTorch and against NumPy on the host.

    python -m benchmarks.crop_flip [--out FILE]

"image by image" pads once and then crops and flips in a Python loop, as a data loader's transforms
do (without their overhead); "one gather" is our formula in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.report import Report, arguments
from benchmarks.timing import Row, alternate, compared
from varmixup_jax.data import crop_and_flip

PAD = 4


def ours(images: np.ndarray) -> Callable[[], None]:
    """The library's augmentation, jitted, with a new key each call."""
    run = jax.jit(partial(crop_and_flip, pad=PAD, flip=True))
    batch, key = jnp.asarray(images), jax.random.key(0)
    return lambda: jax.block_until_ready(run(key, batch))


def host(images: np.ndarray) -> Callable[[], None]:
    """NumPy, image by image."""
    rng = np.random.default_rng(0)
    size = images.shape[1]

    def call() -> None:
        padded = np.pad(images, ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0)), "reflect")
        out = np.empty_like(images)
        for i, (top, left, flip) in enumerate(rng.integers(0, (9, 9, 2), (len(images), 3))):
            crop = padded[i, top : top + size, left : left + size]
            out[i] = crop[:, ::-1] if flip else crop

    return call


def torch_variants(images: np.ndarray) -> dict[str, Callable[[], None]]:
    """PyTorch in both forms."""
    import torch
    import torch.nn.functional as F

    batch = torch.tensor(images).permute(0, 3, 1, 2)
    count, size = len(images), images.shape[1]
    example = torch.arange(count)[:, None, None]
    line = torch.arange(size)[None]

    def one_by_one() -> None:
        padded = F.pad(batch, (PAD,) * 4, mode="reflect")
        draws = torch.stack([torch.randint(0, n, (count,)) for n in (9, 9, 2)], 1).tolist()
        crops = [padded[i, :, t : t + size, c : c + size] for i, (t, c, _) in enumerate(draws)]
        torch.stack([x.flip(2) if draws[i][2] else x for i, x in enumerate(crops)])

    def gather() -> None:
        top, left = torch.randint(0, 2 * PAD + 1, (2, count, 1))
        columns = torch.where(torch.rand(count, 1) < 0.5, size - 1 - line, line)
        last = size - 1
        rows = last - (last - (line + top - PAD).abs()).abs()
        columns = last - (last - (columns + left - PAD).abs()).abs()
        batch.permute(0, 2, 3, 1)[example, rows[:, :, None], columns[:, None]]

    return {"torch, image by image": one_by_one, "torch, one gather": gather}


def measure(batch: int, *, repeats: int, seconds: float) -> Iterator[Row]:
    """One batch size, float32 images of 32x32x3."""
    images = np.random.default_rng(0).random((batch, 32, 32, 3)).astype(np.float32)
    variants = {"ours": ours(images), **torch_variants(images), "numpy": host(images)}
    times = alternate(variants, repeats=repeats, seconds=seconds)
    for peer in list(variants)[1:]:
        yield compared(f"crop and flip, batch {batch}", times, "ours", peer)


def main(argv: list[str] | None = None) -> Report:
    """Prints the table."""
    args = arguments(__doc__, seconds=0.1).parse_args(argv)
    report = Report("crop_flip", args, argv)
    batch = 16 if args.small else 128
    report.piece(
        "crop and flip", lambda: measure(batch, repeats=args.repeats, seconds=args.seconds)
    )
    return report


if __name__ == "__main__":
    main()
