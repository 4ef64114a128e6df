"""Tables are grouped by the content of the data, not by the name or location of its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from varmixup_jax.report.rows import Run


def by_data(runs: Sequence[Run]) -> list[Run]:
    """The runs, with fields changed so that they identify the data rather than where its files are.

    Runs on the same data get the same `data.source`. If runs on different data have the same
    `data.source`, `data.sha256` becomes a setting; if test sets of one name differ, part of their
    sha256 is added to the name. Runs of older versions, which have no sha256, stay as they are.

    Args:
      runs: of any data sets.
    """
    found = list(runs)
    told = pd.DataFrame([_facts(run) for run in runs], columns=list(_facts(runs[0])))
    told = told[told.content != ""]
    told["source"] = told.groupby("content").source.transform("min")
    told["contents"] = told.groupby(["source", "split"]).content.transform("nunique")
    told["tests"] = told.groupby("dataset").test.transform("nunique")
    for at, facts in told.iterrows():
        run = found[at]
        config = {**run.config, "data.source": facts.source}
        if facts.contents > 1:
            config["data.sha256"] = facts.content[:8]
        name = f"{run.dataset} {facts.test[:8]}" if facts.tests > 1 else run.dataset
        names = {run.dataset: name}
        rows = [row._replace(dataset=names.get(row.dataset, row.dataset)) for row in run.rows]
        found[at] = replace(run, config=config, dataset=name, rows=rows)
    return found


def _facts(run: Run) -> dict[str, str]:
    """The sha256 of a run's data and of its test set (empty if unknown), and how it was split."""
    sums = run.summary.get("data") or {}
    own = {n: v for n, v in run.config.items() if n.startswith("data.")}
    source, _ = own.pop("data.source", ""), own.pop("data.dir", "")
    return {
        "content": "".join(str(sums.get(split, "")) for split in ("train", "val", "test")),
        "test": str(sums.get("test", "")),
        "source": str(source),
        "split": str(sorted(own.items())),
        "dataset": run.dataset,
    }
