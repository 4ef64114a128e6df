"""A classifier's accuracy under our corruptions and the original recipe's, in 19 x 5 conditions.

    python -m benchmarks.corruption_accuracy RUN_DIR [--images 1000] [--draws 4] [--most_draws 24]

RUN_DIR is a finished run on 32-pixel images. Both sides corrupt the same test images; random
corruptions are drawn at least `--draws` times each, until the standard error of the difference, over
the draws, is below `--error` points. Frost is compared twice, synthesised and from the photographs
(of `--frost_dir`, by default inside the installed package `imagecorruptions`), each time with the
recipe on the photographs. Exit status 1 if a difference exceeds `BOUND` points.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import recipe
from varmixup_jax import corruptions
from varmixup_jax.corruptions.severity_tables import CIFAR
from varmixup_jax.data import load
from varmixup_jax.evaluation.views import spread
from varmixup_jax.models.saved import load_model
from varmixup_jax.report.rows import read_run

BOUND = 1.5
BATCH = 500

Right = Callable[[np.ndarray], np.ndarray]
"""`images uint8 [N, 32, 32, 3] -> [N]`, 1.0 where the classifier is correct."""


class Cell(NamedTuple):
    """One condition, in percent and percentage points.

    Attributes:
      theirs: accuracy on the recipe's images, mean over draws.
      ours: accuracy on ours.
      error: standard error of `ours - theirs` over the draws, the test images held fixed.
      draws: of each side.
    """

    theirs: float
    ours: float
    error: float
    draws: int

    @property
    def gap(self) -> float:
        """Ours minus theirs."""
        return self.ours - self.theirs


def measure(
    name: str,
    severity: int,
    pictures: np.ndarray,
    right: Right,
    textures: corruptions.FrostTextures | None,
    photographs: list[np.ndarray],
    draws: tuple[int, int],
    error: float,
) -> Cell:
    """Compares one condition.

    Args:
      name: of the corruption.
      severity: 1 to 5.
      pictures: uint8 `[N, 32, 32, 3]`.
      right: the classifier and its labels.
      textures: what our frost is cropped from, None synthesises it.
      photographs: what the recipe's frost is cropped from.
      draws: minimum and maximum for each side.
      error: points; stops drawing once the standard error is below.

    Returns:
      The cell.
    """
    images = jnp.asarray(pictures, jnp.float32) / 255
    generator = np.random.default_rng(severity)
    ours: list[np.ndarray] = []
    theirs: list[np.ndarray] = []
    least, most = (1, 1) if name in corruptions.DETERMINISTIC else draws
    while True:
        key = jax.random.key(1000 * severity + len(ours))
        made = corruptions.corrupt(key, name, images, severity, frost_textures=textures)
        ours.append(right(np.uint8(np.round(np.asarray(made) * 255))))
        row = CIFAR[name][severity - 1]
        theirs.append(right(recipe.corrupted(name, pictures, row, generator, photographs)))
        if len(ours) < least:
            continue
        found = standard_error(np.stack(ours), np.stack(theirs))
        if found < error or len(ours) >= most:
            break
    return Cell(100 * float(np.mean(theirs)), 100 * float(np.mean(ours)), float(found), len(ours))


def standard_error(*sides: np.ndarray) -> float:
    """Standard error over draws of the difference of two mean accuracies `[draws, N]`, in points."""
    if len(sides[0]) == 1:
        return 0.0
    variances = [side.var(axis=0, ddof=1).sum() / len(side) for side in sides]
    return 100 * float(np.sqrt(sum(variances))) / sides[0].shape[1]


def line(label: str, cells: list[Cell]) -> str:
    """A line of Markdown: per severity the recipe's accuracy, and ours minus it."""
    words = [
        f"{cell.theirs:.1f} {cell.gap:+.1f}" + (f" ± {cell.error:.1f}" if cell.error else "")
        for cell in cells
    ]
    return f"| {label} | " + " | ".join(words) + " |"


def main() -> None:
    """Prints the table, and which of its cells are out of bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=4, help="minimum, for random corruptions")
    parser.add_argument("--most_draws", type=int, default=24)
    parser.add_argument("--error", type=float, default=0.45, help="points")
    parser.add_argument("--frost_dir", default="imagecorruptions")
    parser.add_argument("--names", nargs="*", default=[*corruptions.NAMES, *corruptions.EXTRA])
    args = parser.parse_args()
    model, config = load_model(args.run), read_run(args.run).config
    data = load(
        config["data.source"],
        data_dir=config["data.dir"] or None,
        val_fraction=config["data.val_fraction"],
        split_seed=config["data.split_seed"],
    )
    chosen = spread(len(data.test_images), args.images)
    pictures, labels = data.test_images[chosen], data.test_labels[chosen]
    logits = jax.jit(model.logits)

    def right(images: np.ndarray) -> np.ndarray:
        batches = [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
        found = [np.argmax(logits(jnp.asarray(b, jnp.float32) / 255), axis=1) for b in batches]
        return (np.concatenate(found) == labels).astype(np.float64)

    textures = None
    if "frost" in args.names:
        textures = corruptions.load_textures(args.frost_dir, size=recipe.SIZE)
    photographs = recipe.cut(textures) if textures is not None else []
    everywhere = right(data.test_images[chosen]).mean()
    print(f"Clean accuracy on these {len(labels)} images: {everywhere:.1%}.\n")
    print("| corruption | " + " | ".join(f"severity {s}" for s in corruptions.SEVERITIES) + " |")
    print("|---" * 6 + "|")
    found: dict[str, list[Cell]] = {}
    for name in args.names:
        sources = [None, textures] if name == "frost" else [None]
        for source in sources:
            label = f"frost ({corruptions.frost_source(source)})" if name == "frost" else name
            found[label] = [
                measure(
                    *(name, severity, pictures, right, source, photographs),
                    (args.draws, args.most_draws),
                    args.error,
                )
                for severity in corruptions.SEVERITIES
            ]
            print(line(label, found[label]), flush=True)
    cells = [cell for row in found.values() for cell in row]
    missed = [
        f"{label} {severity} ({cell.gap:+.2f} ± {cell.error:.2f})"
        for label, row in found.items()
        for severity, cell in zip(corruptions.SEVERITIES, row, strict=True)
        if abs(cell.gap) > BOUND
    ]
    mean, worst = np.mean([cell.gap for cell in cells]), max(cell.error for cell in cells)
    print(f"\nMean difference {mean:+.2f} points; largest standard error {worst:.2f}.")
    print(f"Beyond {BOUND} points: {', '.join(missed) or 'none'}.")
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()
