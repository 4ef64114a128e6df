"""The sections of pictures: what the VAEs do to images, and what the corruptions do to one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from varmixup_jax.report import gallery, markup
from varmixup_jax.report.rows import Run
from varmixup_jax.report.sections import Scene


def autoencoders(scene: Scene) -> list[str]:
    """For each VAE of the data set: reconstructions, interpolations, samples of the prior."""
    blocks: list[str] = []
    users: dict[str, list[Run]] = {}
    for run in _runs(scene):
        if scene.artifacts.get(str(run.path)) and _has_pictures(scene.artifacts[str(run.path)]):
            vae = run.summary.get("vae") or {}
            users.setdefault(str(vae.get("key") or run.name), []).append(run)
    for name, runs in users.items():
        methods = ", ".join(dict.fromkeys(run.method for run in runs))
        blocks.append(f"<h3>VAE {markup.escape(name)} <small>{markup.escape(methods)}</small></h3>")
        blocks.append(_autoencoder(runs[0], scene.artifacts[str(runs[0].path)]))
    return blocks


def corruption_sheet(scene: Scene) -> list[str]:
    """One image under every corruption, a strip of severities for each."""
    for run in _runs(scene):
        arrays = scene.artifacts.get(str(run.path), {})
        if "corruption_sheet" not in arrays:
            continue
        strips = []
        names = arrays["corruption_names"]
        for name, images in zip(names, arrays["corruption_sheet"], strict=True):
            canvas = gallery.sheet(images[None])
            caption = str(name).replace("_", " ")
            strips.append(markup.picture(gallery.encode(canvas), canvas.shape[1], caption))
        count = arrays["corruption_sheet"].shape[1]
        note = f"Severities 1 to {count} from left to right."
        return [markup.paragraph(note, "note"), f'<div class="strips">{"".join(strips)}</div>']
    return []


def _runs(scene: Scene) -> list[Run]:
    return [member.run for group in scene.board.groups for member in group.members]


def _has_pictures(arrays: Mapping[str, np.ndarray]) -> bool:
    return (
        {"originals", "reconstructions"} <= set(arrays)
        or {"latent_grid", "pixel_grid"} <= set(arrays)
        or "prior_samples" in arrays
    )


def _autoencoder(run: Run, arrays: Mapping[str, np.ndarray]) -> str:
    shown = []

    def add(canvas: np.ndarray, caption: str) -> None:
        shown.append(markup.picture(gallery.encode(canvas), canvas.shape[1], caption))

    if {"originals", "reconstructions"} <= set(arrays):
        caption = "Originals (upper rows) and reconstructions (below each)."
        recorded = (run.summary.get("vae") or {}).get("psnr")
        if isinstance(recorded, (int, float)):
            caption += f" PSNR of the VAE: {recorded:.1f} dB."
        here = gallery.psnr(arrays["originals"], arrays["reconstructions"])
        if here is not None:
            caption += f" Of the {len(arrays['originals'])} images recorded here: {here:.1f} dB."
        add(gallery.reconstruction_sheet(arrays["originals"], arrays["reconstructions"]), caption)
    if "prior_samples" in arrays:
        add(gallery.sample_sheet(arrays["prior_samples"]), "Decoded samples of the prior N(0, I).")
    if {"latent_grid", "pixel_grid"} <= set(arrays):
        for name, what in (("latent_grid", "latents, decoded"), ("pixel_grid", "pixels")):
            caption = f"Mixing of {what}: one pair per row, λ from 0 (left) to 1 (right)."
            add(gallery.sheet(arrays[name][: gallery.MOST_PAIRS]), caption)
    return markup.pictures(shown)
