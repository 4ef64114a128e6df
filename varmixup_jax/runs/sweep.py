"""Several methods and seeds in one go: the VAE once, each run in turn, a page at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from varmixup_jax import cluster, report
from varmixup_jax.atomic_files import loads
from varmixup_jax.compilation import user_cache
from varmixup_jax.config import selected_methods
from varmixup_jax.declare import plain
from varmixup_jax.fields import Config
from varmixup_jax.methods import METHODS
from varmixup_jax.models.forward import VAE
from varmixup_jax.report.rows import read_run
from varmixup_jax.runs import run_directory
from varmixup_jax.runs.classifier import train_and_evaluate
from varmixup_jax.runs.preemption import PREEMPTION
from varmixup_jax.runs.setup import Setup, prepare
from varmixup_jax.runs.speaker import Say, speaker
from varmixup_jax.runs.vae_store import obtain_all, store_root
from varmixup_jax.saved_config import flatten
from varmixup_jax.training.heartbeat import Heartbeat
from varmixup_jax.training.loop import NonFiniteError
from varmixup_jax.validation import validate


def run(config: ConfigDict | Config, workdir: str | Path) -> list[dict[str, Any]]:
    """Runs every method and seed a configuration names, and writes the comparison page.

    One method with one seed uses `workdir` itself, several use `workdir/<method>-s<seed>`. What is
    already done there is skipped. A run that diverges is reported as failed; the others continue.

    Args:
      config: a (changed) `base_config()`.
      workdir: created if missing.

    Returns:
      One summary per run, in order.

    Raises:
      ValueError: a configuration that cannot run, bad data, or a directory that holds another
        configuration; nothing is written then.
      Diverged: some runs diverged; all others are done and the page is written.
      Preempted: a signal came; the training state is saved.
    """
    config, workdir = validate(config), Path(os.path.expanduser(workdir))
    cluster.check_same_everywhere(flatten(plain(config)))
    cluster.on_lead(lambda: run_directory.check_place(workdir))
    jobs = [(method, seed) for seed in config.seeds for method in selected_methods(config.method)]
    alone = len(jobs) == 1
    places = {job: workdir if alone else workdir / f"{job[0]}-s{job[1]}" for job in jobs}

    def left() -> list[tuple[str, int]]:
        for job, place in places.items():
            run_directory.check_same(place, run_directory.run_config(config, *job))
        return [job for job in jobs if not run_directory.is_done(places[job])]

    todo = [(method, seed) for method, seed in cluster.on_lead(left)]
    if any(METHODS[method].vae != "none" for method, _ in todo):
        if not config.vae.store and user_cache() is None:
            config = replace(config, vae=replace(config.vae, store=str(workdir / ".vae")))
        store_root(config.vae.store)  # refuses an unusable path before anything is loaded
    found = places.values()
    moved = cluster.on_lead(
        lambda: any(run_directory.elsewhere(place, config.data.source) for place in found)
    )
    say = speaker(config.quiet)
    diverged: list[str] = []
    if todo or moved:
        with Heartbeat(say, "loading the data"):
            setup = prepare(config)
        cluster.on_lead(lambda: run_directory.check_data(setup.data.digests, *found))
        vaes: dict[str, VAE | NonFiniteError | None] = {"none": None}
        for method, seed in todo:
            PREEMPTION.check()
            kind = METHODS[method].vae
            if kind not in vaes:
                vaes[kind] = _obtained(setup, kind, say)
            vae = vaes[kind]
            try:
                if isinstance(vae, NonFiniteError):
                    raise vae
                train_and_evaluate(setup, vae, method, seed, places[method, seed])
            except NonFiniteError as error:
                whose = f"{method} s{seed}{': VAE' if error is vae else ''}"
                diverged.append(f"{whose}: {error}")
                say(diverged[-1])

    PREEMPTION.check()
    baseline = _baseline(config, places)
    begun = cluster.on_lead(lambda: [str(p) for p in found if (p / "summary.json").exists()])
    summaries = []
    if begun:  # not a run whose VAE diverged
        summaries = cluster.on_lead(
            lambda: close([Path(place) for place in begun], workdir, baseline, say)
        )
    PREEMPTION.check()
    if diverged:
        raise Diverged(diverged)
    return summaries


def _obtained(setup: Setup, kind: str, say: Say) -> VAE | NonFiniteError:
    """The VAEs of a kind, trained once; if one diverges, its error serves for every run using it."""
    try:
        vae = obtain_all(setup, kind)
    except NonFiniteError as error:
        return error
    for info in (vae.info, *(other.info for other in vae.others)):
        say(f"VAE {info['key']}: reconstruction PSNR {info['psnr']:.1f} dB")
    return vae


class Diverged(RuntimeError):
    """Some runs of a sweep stopped at a non-finite loss; the message lists each with its step."""

    def __init__(self, runs: list[str]):
        super().__init__("; ".join(runs))


def close(
    places: Sequence[Path], workdir: Path, baseline: str | None, say: Say
) -> list[dict[str, Any]]:
    """The page of several runs and the closing table; returns the summaries."""
    with Heartbeat(say, "writing the page"):
        page = report.write(places, workdir, baseline)
    done = [read_run(place) for place in places if run_directory.is_done(place)]
    if done:
        # Imported here: it needs pandas, which takes longer to import than all else for `--help`.
        from varmixup_jax.report.closing_table import print_table

        print_table(done)
    say(f"page: {page}")
    return [loads((p / "summary.json").read_text(encoding="utf-8")) for p in places]


def _baseline(config: Config, places: Mapping[tuple[str, int], Path]) -> str | None:
    """The finished run that mCE is relative to: the baseline method with the first seed."""
    place = places.get((config.eval.baseline or "", config.seeds[0]))
    return None if place is None or len(places) == 1 else run_directory.finished_run(place)
