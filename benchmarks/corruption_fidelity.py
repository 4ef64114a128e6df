"""How close the corruptions are to the original recipe's output, one row per corruption x severity.

    python benchmarks/corruption_fidelity.py [--reference FILE] [--frost_dir DIR] [--keys 8]

The reference is an .npz file with `clean` uint8 `[N, S, S, C]` and, per corruption, uint8
`[5, N, S, S, C]`. Deterministic corruptions are compared pixel by pixel, random ones in
distribution: the reference is a single draw, ours are averaged over `--keys` draws, and `z` is the
reference's distance from our mean in standard deviations of *one* of our draws. The last column says
`yes`, or `chance` where the bound is missed but |z| < 3, or `NO`.
"""

from __future__ import annotations

import argparse
import itertools
import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax import corruptions

REFERENCE_NAME = "cifar10c_reference.npz"
LOOSE = ("elastic_transform", "frost")
BANDS = 4
CHANCE = 3.0


class Row(NamedTuple):
    """One corruption at one severity.

    Attributes:
      name, severity: which.
      exact: deterministic, compared pixel by pixel.
      difference: mean absolute difference, grey levels (deterministic only).
      within: fraction of pixel values that differ by at most one grey level (deterministic only).
      ratio: mean |x' - x| of ours over that of the reference.
      psnr: PSNR of ours minus that of the reference, dB, each from the mean squared change.
      means: largest difference of a channel's mean, grey levels.
      spectrum: largest ratio of the power of x' - x over four radial bands, dB.
      z: see above, of mean |x' - x|.
      source: of the frost's texture, else an empty string.
    """

    name: str
    severity: int
    exact: bool
    difference: float
    within: float
    ratio: float
    psnr: float
    means: float
    spectrum: float
    z: float
    source: str

    def in_bounds(self) -> bool:
        """One grey level on 99 % of pixels; or 5 % and 0.5 dB (10 % and 1 dB for `LOOSE`)."""
        if self.exact:
            return self.within >= 0.99
        loose = self.name in LOOSE
        return abs(self.ratio - 1.0) <= (0.10 if loose else 0.05) and abs(self.psnr) <= (
            1.0 if loose else 0.5
        )

    def explained(self) -> bool:
        """Out of bounds by chance: a single draw of ours is just as likely to be this far off.

        The reference is one draw of a few images. If one draw of ours varies so much that the bound
        is within three of its standard deviations, a distance of less than three is chance.
        """
        return not self.exact and abs(self.z) < CHANCE


def find_reference() -> Path | None:
    """The file in $VARMIXUP_REFERENCE_DATA, or in a folder `shared/data` next to the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("VARMIXUP_REFERENCE_DATA", beside))
    path = folder / REFERENCE_NAME
    return path if path.is_file() else None


def power(change: np.ndarray) -> np.ndarray:
    """Mean power of `[N, S, S, C]` in `BANDS` radial frequency bands, without the zero frequency."""
    spectrum = np.mean(np.abs(np.fft.fft2(change, axes=(1, 2))) ** 2, axis=(0, 3))
    frequency = np.fft.fftfreq(change.shape[1])
    radius = np.hypot(frequency[:, None], frequency[None])
    edges = np.linspace(0.0, 0.5, BANDS + 1)
    inside = [(radius > low) & (radius <= high) for low, high in itertools.pairwise(edges)]
    return np.array([spectrum[mask].mean() for mask in inside])


def compare(
    name: str,
    severity: int,
    clean: np.ndarray,
    reference: np.ndarray,
    keys: int,
    textures: corruptions.FrostTextures | None = None,
) -> Row:
    """Measures one corruption at one severity.

    Args:
      name: of the corruption.
      severity: 1 to 5.
      clean: uint8 `[N, S, S, C]`.
      reference: uint8 `[N, S, S, C]`, the original recipe's output.
      keys: how many of our draws are averaged.
      textures: for frost; None is synthetic.

    Returns:
      The row.
    """
    exact = name in corruptions.DETERMINISTIC
    images = jnp.asarray(clean, jnp.float32) / 255
    x, theirs = clean.astype(np.float64), reference.astype(np.float64)
    draws = []
    for seed in range(1 if exact else keys):
        out = corruptions.corrupt(
            jax.random.key(seed), name, images, severity, frost_textures=textures
        )
        draws.append(np.round(np.asarray(out, np.float64) * 255))
    amounts = np.array([np.mean(np.abs(d - x)) for d in draws])
    error = np.mean([np.mean((d - x) ** 2) for d in draws])
    ours_power = np.mean([power(d - x) for d in draws], axis=0)
    amount = np.mean(np.abs(theirs - x))
    spread = amounts.std(ddof=1) if len(draws) > 1 else np.nan
    means = np.mean([d.mean(axis=(0, 1, 2)) for d in draws], axis=0) - theirs.mean(axis=(0, 1, 2))
    gap = np.abs(draws[0] - theirs)
    return Row(
        name=name,
        severity=severity,
        exact=exact,
        difference=float(gap.mean()) if exact else np.nan,
        within=float((gap <= 1).mean()) if exact else np.nan,
        ratio=float(amounts.mean() / amount),
        psnr=float(10 * np.log10(np.mean((theirs - x) ** 2) / error)),
        means=float(np.abs(means).max()),
        spectrum=float(np.abs(10 * np.log10(ours_power / power(theirs - x))).max()),
        z=float((amount - amounts.mean()) / spread),
        source=corruptions.frost_source(textures) if name == "frost" else "",
    )


HEADER = (
    "| corruption | severity | mean abs. difference | within 1 level | ratio of mean change "
    "| PSNR, dB | channel means | spectrum, dB | z | in bounds |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def line(row: Row) -> str:
    """The row as a line of Markdown."""
    label = f"{row.name} ({row.source})" if row.source else row.name
    first = f"{row.difference:.3f} | {row.within:.2%}" if row.exact else "– | –"
    z = "–" if row.exact else f"{row.z:+.1f}"
    verdict = "yes" if row.in_bounds() else "chance" if row.explained() else "NO"
    return (
        f"| {label} | {row.severity} | {first} | {row.ratio:.3f} | {row.psnr:+.2f} "
        f"| {row.means:.2f} | {row.spectrum:.2f} | {z} | {verdict} |"
    )


def main() -> None:
    """Prints the table; exit status 1 if a row is out of bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, default=find_reference())
    parser.add_argument("--frost_dir", type=Path, default=None)
    parser.add_argument("--keys", type=int, default=8)
    parser.add_argument("--names", nargs="*", default=[*corruptions.NAMES, *corruptions.EXTRA])
    args = parser.parse_args()
    if args.reference is None:
        parser.error("--reference: no file found; set VARMIXUP_REFERENCE_DATA or give the path")
    data = np.load(args.reference)
    clean = data["clean"]
    photographs = corruptions.load_textures(args.frost_dir, size=clean.shape[1])
    print(HEADER)
    failed = 0
    for name in args.names:
        sources = [None, photographs] if name == "frost" and photographs is not None else [None]
        for textures in sources:
            for severity in corruptions.SEVERITIES:
                reference = data[name][severity - 1]
                row = compare(name, severity, clean, reference, args.keys, textures)
                failed += not (row.in_bounds() or row.explained())
                print(line(row), flush=True)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
