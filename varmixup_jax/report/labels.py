"""Labels of the rows of a table and the lines of a chart.

`varmixup · clean 0.5 · VAE 8×8×4`: the method, every method setting that is not its default, and
whatever else distinguishes the row from the others. Charts use the shortest form that still
distinguishes it from the other rows of its method.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from varmixup_jax.report.names import DEFAULTS
from varmixup_jax.report.rows import Run
from varmixup_jax.report.settings import (
    SHARED,
    VAE,
    differing_fields,
    field_text,
    field_words,
    number,
    usual,
)
from varmixup_jax.saved_config import NOT_SETTINGS

SEPARATOR = " · "
MOST_SHARED = 3  # fields shared by all methods that are named; the rest are counted
# Named even at their defaults: they determine the cost of a step.
ALWAYS = frozenset({"views"})
SIDES = {"cifar10": 32, "cifar100": 32, "tiny_imagenet": 64, "digits": 8}  # pixels of an image
_LATENT = ("vae.latent", "vae.latent_size", "vae.downsample")
# The adversary fields say how one kind of VAE is trained; the method says which kind it is.
_NOT_OF_ONE = ("vae.adversary.", "vae.others", "vae.drawn")


def changed_settings(run: Run) -> list[str]:
    """The names of the method's own settings that are not its defaults, in the file's order.

    A setting without a known default, as for a method registered elsewhere, is not included.
    """
    known = DEFAULTS.get(run.method, {})
    return [n for n, value in _own(run).items() if n in known and not _same(value, known[n])]


def labels(runs: Sequence[Run]) -> list[str]:
    """A label for each of `runs`, no two of which have the same configuration, seeds aside.

    The method comes first, then its own settings that differ from its defaults. Then, where the
    runs differ, the values that are not the most frequent: the VAE of those that use one, the
    network, the length of training and the other fields of `settings.SHARED`. Labels that are still
    equal get the fields in which their runs differ, or a number.
    """
    shared = [_shared(run) for run in runs]
    common = {name: usual([s[name] for s in shared if name in s]) for name in SHARED}
    varied = [name for name in SHARED if len({s.get(name) for s in shared}) > 1]
    names = []
    for run, found, vae in zip(runs, shared, vae_names(runs), strict=True):
        changed = {*changed_settings(run), *ALWAYS}
        prefix = f"methods.{run.method}."
        own = [field_words(prefix + n, v) for n, v in _own(run).items() if n in changed]
        others = [name for name in varied if name in found and found[name] != common[name]]
        rest = [field_words(name, json.loads(found[name])) for name in others]
        if len(rest) > MOST_SHARED:
            rest = [*rest[:MOST_SHARED], f"{len(rest) - MOST_SHARED} more"]
        names.append(SEPARATOR.join([run.method, *own, *filter(None, [vae]), *rest]))
    return _told_apart(runs, names)


def short_names(names: Sequence[str]) -> list[str]:
    """Each label cut to the words that distinguish it from the others of its method.

    >>> short_names(["erm", "at · 10 epochs", "mine", "mine · 1 view · a 2", "mine · 2 views"])
    ['erm', 'at', 'mine', 'mine · 1 view', 'mine · 2 views']
    """
    parts = [name.split(SEPARATOR) for name in names]
    return [
        SEPARATOR.join([method, *fewest(words, [o[1:] for o in parts if o[0] == method])])
        for method, *words in parts
    ]


def fewest(words: Sequence[str], every: Sequence[Sequence[str]], least: int = 0) -> Sequence[str]:
    """The shortest prefix of `words` that no other list in `every` contains entirely."""
    others = [set(other) for other in every if list(other) != list(words)]
    for count in range(least, len(words)):
        if not any(set(words[:count]) <= other for other in others):
            return words[:count]
    return words


def vae_names(runs: Sequence[Run]) -> list[str]:
    """For each run what distinguishes its VAE, "" without a VAE or with only the usual one.

    The usual VAE is the one that most runs have; for others, the fewest differences from it are named
    that no other VAE shares. Further VAEs that samples are drawn over are always named.
    """
    settings = [_vae_settings(run) for run in runs]
    keys = [json.dumps(s, sort_keys=True) if s else "" for s in settings]
    common = usual([key for key in keys if key])
    examples = {key: runs[keys.index(key)] for key in dict.fromkeys(keys) if key}
    compared = [examples[common]] if common else list(examples.values())
    told = {key: _differences(run, compared) for key, run in examples.items() if key != common}
    names = []
    for run, key in zip(runs, keys, strict=True):
        apart = fewest(told[key], list(told.values()), 1) if told.get(key) else []
        parts = [f"VAE {', '.join(apart)}"] if apart else []
        for other in _vaes(run)[1:] if key else ():
            parts.append(f"also VAE {', '.join(_differences(other, [run]))}")
            if run.config.get("vae.drawn") == "example":
                parts[-1] += ", per example"
        names.append(SEPARATOR.join(parts))
    return names


def vae_remarks(runs: Sequence[Run]) -> list[str]:
    """One line per VAE: latent, width, blocks, kind and the fidelity that was measured."""
    used = [vae for run in runs if _vae_settings(run) for vae in _vaes(run)]
    varied = differing_fields([run.config for run in used])
    lines: dict[str, str] = {}
    for run in used:
        vae = run.summary["vae"]
        stated = [n for n in VAE if n in varied or n in ("vae.width", "vae.blocks")]
        parts = [
            latent_words(run),
            *(field_words(n, run.config[n]) for n in stated if n in run.config),
        ]
        if vae.get("kind") not in (None, "standard"):
            parts.append(str(vae["kind"]))
        psnr = vae.get("psnr")
        known = isinstance(psnr, (int, float)) and not isinstance(psnr, bool)
        fidelity = f": {psnr:.1f} dB on the test set" if known else ""
        lines.setdefault(f"VAE {', '.join(filter(None, parts))}", fidelity)
    return [f"{text}{fidelity}." for text, fidelity in lines.items()]


def _vaes(run: Run) -> list[Run]:
    """The run as if each of its VAEs were the only one: that of `vae`, then those of `vae.others`."""
    found, changed = [run], run.config.get("vae.others")
    told = run.summary["vae"].get("others")
    for place, changes in enumerate(changed if isinstance(changed, list) else ()):
        words = (word.partition("=") for word in str(changes).split())
        own = {f"vae.{name}": _value(word) for name, _, word in words}
        noted = told[place] if isinstance(told, list) and place < len(told) else None
        # Never empty: an empty one would count as a run without a VAE.
        vae = {"psnr": None, **(noted if isinstance(noted, Mapping) else {})}
        summary = {**run.summary, "vae": vae}
        found.append(replace(run, config={**run.config, **own}, summary=summary))
    return found


def _value(word: str) -> Any:
    try:
        return json.loads(word)
    except ValueError:
        return word


def latent_words(run: Run) -> str:
    """The shape of the latent: `8×8×16` of a grid, where the image's size is known."""
    size, cell = run.config.get("vae.latent_size"), run.config.get("vae.downsample")
    if run.config.get("vae.latent") == "vector":
        return f"vector {number(size)}"
    side = run.config.get("data.resize") or SIDES.get(run.dataset)
    if not (_whole(side) and _whole(size) and _whole(cell)):
        return f"{number(size)} channels"
    cell = cell or (4 if side >= 16 else 2)  # as chosen by the model
    return f"{side // cell}×{side // cell}×{size}"


def _own(run: Run) -> dict[str, Any]:
    prefix = f"methods.{run.method}."
    return {n.removeprefix(prefix): v for n, v in run.config.items() if n.startswith(prefix)}


def _shared(run: Run) -> dict[str, str]:
    """The fields of `SHARED` that the run has, as JSON; its epochs are those it ended with."""
    found = {name: run.config[name] for name in SHARED if name in run.config}
    ended = run.summary.get("epochs")
    if ended not in (None, ""):
        found["epochs"] = ended
    numbers = {n: float(v) if isinstance(v, int) and v is not True else v for n, v in found.items()}
    return {name: json.dumps(value) for name, value in numbers.items()}


def _same(value: Any, default: Any) -> bool:
    if isinstance(default, float) and isinstance(value, (int, float)):
        return abs(value - default) <= 1e-9
    return json.dumps(value) == json.dumps(default)


def _told_apart(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """`names`, extended until no two are the same."""
    apart = list(names)
    for name in dict.fromkeys(names):
        places = [place for place, other in enumerate(names) if other == name]
        if len(places) < 2:
            continue
        configs = [runs[place].config for place in places]
        fields = [n for n in differing_fields(configs) if n not in NOT_SETTINGS]
        for count, (place, config) in enumerate(zip(places, configs, strict=True), start=1):
            parts = [
                f"{'VAE ' * (field in VAE)}{field_words(field, config[field])}"
                for field in fields
                if field in config
            ]
            if len(fields) > MOST_SHARED or not parts:
                parts = [f"#{count}"]
            apart[place] = SEPARATOR.join([name, *parts])
    return [
        f"{name} #{apart[:place].count(name) + 1}" if apart.count(name) > 1 else name
        for place, name in enumerate(apart)
    ]


def _vae_settings(run: Run) -> dict[str, Any]:
    """The settings of the run's VAE; empty if it used none."""
    vae = run.summary.get("vae")
    if not isinstance(vae, Mapping) or not vae:
        return {}
    return {
        name: value
        for name, value in run.config.items()
        if name.startswith("vae.") and not name.startswith(_NOT_OF_ONE) and name not in NOT_SETTINGS
    }


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _differences(run: Run, others: Sequence[Run]) -> list[str]:
    """In words, how `run`'s VAE differs from that of any of `others`."""
    found = [
        name
        for name in dict.fromkeys([*VAE, *_vae_settings(run)])
        if any(field_text(o.config, name) != field_text(run.config, name) for o in others)
    ]
    latent = [latent_words(run)] if set(found) & set(_LATENT) else []
    rest = [n for n in found if n not in _LATENT and n in run.config]
    return [*latent, *(field_words(n, run.config[n]) for n in rest)]
