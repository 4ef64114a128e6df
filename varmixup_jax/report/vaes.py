"""The VAEs that a set of runs used, and what tells them apart in few words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from varmixup_jax.report.rows import Run
from varmixup_jax.report.run_settings import NOT_SETTINGS, differing_fields, field_text, usual
from varmixup_jax.report.words import VAE, field_words, number

SIDES = {"cifar10": 32, "cifar100": 32, "tiny_imagenet": 64, "digits": 8}  # pixels of an image
_LATENT = ("vae.latent", "vae.latent_size", "vae.downsample")
_ADVERSARY = "vae.adversary."  # says how one kind is trained, and the method which kind it is


def vae_names(runs: Sequence[Run]) -> list[str]:
    """For each run what sets its VAE apart, "" for one without VAE or with the usual one.

    Usual is the VAE that more of the runs have than any other; of others the fewest differences
    from it are named that no third has.
    """
    settings = [_settings(run) for run in runs]
    keys = [json.dumps(s, sort_keys=True) if s else "" for s in settings]
    common = usual([key for key in keys if key])
    examples = {key: runs[keys.index(key)] for key in dict.fromkeys(keys) if key}
    told = {
        key: _differences(run, examples[common] if common else None, list(examples.values()))
        for key, run in examples.items()
        if key != common
    }
    return [f"VAE {', '.join(_fewest(key, told))}" if told.get(key) else "" for key in keys]


def vae_remarks(runs: Sequence[Run]) -> list[str]:
    """One line per VAE: latent, width, blocks, kind and the fidelity that was measured."""
    lines: dict[str, str] = {}
    varied = differing_fields([run.config for run in runs if _settings(run)])
    for run in runs:
        if not _settings(run):
            continue
        vae = run.summary["vae"]
        words = [latent_words(run)]
        stated = [n for n in VAE if n in varied or n in ("vae.width", "vae.blocks")]
        words += [VAE[n](run.config[n]) for n in stated if n in run.config]
        if vae.get("kind") not in (None, "standard"):
            words.append(str(vae["kind"]))
        psnr = vae.get("psnr")
        known = isinstance(psnr, (int, float)) and not isinstance(psnr, bool)
        fidelity = f": {psnr:.1f} dB on the test set" if known else ""
        lines.setdefault(f"VAE {', '.join(filter(None, words))}", fidelity)
    return [f"{words}{fidelity}." for words, fidelity in lines.items()]


def latent_words(run: Run) -> str:
    """The shape of the latent: `8×8×16` of a grid, where the image's size is known."""
    size, cell = run.config.get("vae.latent_size"), run.config.get("vae.downsample")
    if run.config.get("vae.latent") == "vector":
        return f"vector {number(size)}"
    side = run.config.get("data.resize") or SIDES.get(run.dataset)
    if not (_whole(side) and _whole(size) and _whole(cell)):
        return f"{number(size)} channels"
    cell = cell or (4 if side >= 16 else 2)  # as the model chooses it
    return f"{side // cell}×{side // cell}×{size}"


def _settings(run: Run) -> dict[str, Any]:
    """The settings of the run's VAE, none of a run that used none."""
    vae = run.summary.get("vae")
    if not isinstance(vae, Mapping) or not vae:
        return {}
    return {
        name: value
        for name, value in run.config.items()
        if name.startswith("vae.") and not name.startswith(_ADVERSARY) and name not in NOT_SETTINGS
    }


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _differences(run: Run, common: Run | None, every: Sequence[Run]) -> list[str]:
    """In words, what `run`'s VAE has otherwise than the usual one, or than any where none is."""
    others = [common] if common is not None else every
    known = list(dict.fromkeys([*VAE, *_settings(run)]))
    found = [
        n
        for n in known
        if any(field_text(o.config, n) != field_text(run.config, n) for o in others)
    ]
    words = [latent_words(run)] if set(found) & set(_LATENT) else []
    words += [
        field_words(name, run.config[name]).removeprefix("VAE ")
        for name in found
        if name not in _LATENT and name in run.config
    ]
    return words


def _fewest(key: str, told: Mapping[str, list[str]]) -> list[str]:
    """The shortest beginning of a VAE's differences that no other VAE has all of."""
    words = told[key]
    for count in range(1, len(words)):
        if not any(set(words[:count]) <= set(other) for k, other in told.items() if k != key):
            return words[:count]
    return words
