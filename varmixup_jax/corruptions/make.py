"""Writes a directory of corrupted images in the layout of CIFAR-10-C, for any data set.

`<name>.npy` is uint8 `[5 N, S, S, C]`, severity 1 first and the images in order; `labels.npy` is
`[5 N]`. Code that reads CIFAR-10-C, in PyTorch or elsewhere, reads it unchanged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax import checks
from varmixup_jax.corruptions.apply import FUNCTIONS, SMALLEST, corrupt, frost_source
from varmixup_jax.corruptions.manifest import begin, clean_sha256
from varmixup_jax.corruptions.photographs import FrostTextures
from varmixup_jax.corruptions.severity_tables import SEVERITIES, TABLES, table_for
from varmixup_jax.version import __version__


def make(
    out: str | Path,
    images: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    *,
    classes: Sequence[str] = (),
    table: str | None = None,
    seed: int = 0,
    batch_size: int = 1000,
    frost_textures: FrostTextures | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Path:
    """Corrupts a data set at every severity and writes it.

    The randomness of image i under a corruption and severity depends only on `seed`, the name, the
    severity and `batch_size`. If interrupted, no partial file is left behind, and the same call
    continues with the missing files.

    Args:
      out: directory, created if missing.
      images: uint8 `[N, S, S, C]` (or `[N, S, S]`), S >= 8, C = 1 or 3.
      labels: whole numbers `[N]`.
      names: of the corruptions.
      classes: a name for each label, by which an evaluation matches them; () for none.
      table: severity table, `cifar` or `tiny_imagenet`; None: by the images' size.
      seed: >= 0.
      batch_size: images per step on the device.
      frost_textures: see `corrupt`.
      report: called with one line per file written.

    Returns:
      The directory.

    Raises:
      ValueError: arrays of another shape, an unknown name or table, names that do not fit the
        labels, or a directory with files that are not from this call.
      TypeError: images that are not uint8.
    """
    checks.one_of((None, *TABLES), table=table)
    for name in names:
        checks.one_of(FUNCTIONS, name=name)
    checks.whole(0, seed=seed)
    checks.whole(1, batch_size=batch_size)
    if images.dtype != np.uint8:
        raise TypeError(f"images: dtype is {images.dtype}, must be uint8")
    images = images[..., None] if images.ndim == 3 else images
    square = images.ndim == 4 and images.shape[1] == images.shape[2] >= SMALLEST
    if not square or images.shape[3] not in (1, 3) or len(images) == 0:
        raise ValueError(
            f"images: has shape {images.shape}, must be [N, S, S, C] with N >= 1, S >= {SMALLEST} "
            "and C = 1 or 3"
        )
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels: has shape {labels.shape}, must be [{len(images)}]")
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        found = (
            f"{labels.dtype} from {labels.min()}" if labels.dtype.kind in "iuf" else labels.dtype
        )
        raise ValueError(f"labels: are {found}, must be whole numbers >= 0")
    if classes and (len(set(classes)) != len(classes) or labels.max() >= len(classes)):
        raise ValueError(
            f"classes: {len(set(classes))} names, must be one of its own for each label up to "
            f"{labels.max()}"
        )
    table = table or table_for(images.shape[1])
    folder = Path(os.path.expanduser(out))
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "made_by": f"varmixup_jax {__version__}",
        "table": table,
        "seed": seed,
        "batch_size": batch_size,
        "frost": frost_source(frost_textures),
        "classes": list(classes),
        "clean_sha256": clean_sha256(images, labels),
    }
    done = begin(folder, facts, names)
    np.save(folder / "labels.npy", np.tile(labels, len(SEVERITIES)))
    root = jax.random.key(seed)
    for name in names:
        if name in done:
            report(f"{folder / name}.npy  exists")
            continue
        key = jax.random.fold_in(root, list(FUNCTIONS).index(name))
        shape = (len(SEVERITIES) * len(images), *images.shape[1:])
        with _whole(folder / f"{name}.npy", shape) as target:
            for severity in SEVERITIES:
                for start in range(0, len(images), batch_size):
                    stop = min(start + batch_size, len(images))
                    step = jax.random.fold_in(jax.random.fold_in(key, severity), start)
                    rows = slice(*((severity - 1) * len(images) + at for at in (start, stop)))
                    batch = _padded(images[start:stop], min(batch_size, len(images)))
                    made = corrupt(step, name, batch, severity, table, frost_textures)
                    target[rows] = np.round(np.asarray(made[: stop - start]) * 255).astype(np.uint8)
        report(f"{folder / name}.npy  {list(shape)}")
    return folder


@contextmanager
def _whole(path: Path, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """A uint8 array to fill, which gets its name on disk only if the block ends without error."""
    temporary = path.with_name(f"{path.name}.part")
    try:
        target = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        yield target
        target.flush()
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _padded(images: np.ndarray, rows: int) -> jax.Array:
    """The batch as floats, padded with its last row to a fixed size, so as to compile once."""
    full = np.concatenate([images, np.repeat(images[-1:], rows - len(images), axis=0)])
    return jnp.asarray(full, jnp.float32) / 255
