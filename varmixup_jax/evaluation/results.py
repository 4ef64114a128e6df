"""The results of an evaluation outside a training run: printed, and saved as a run for reports."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from varmixup_jax import logits_file
from varmixup_jax.atomic_files import dumps, replace_text, write_arrays, write_json
from varmixup_jax.evaluation.record import Evaluation, reliability_arrays
from varmixup_jax.version import __version__

if TYPE_CHECKING:
    from rich.table import Table

    from varmixup_jax.report.rows import Run


@dataclass(frozen=True)
class Results:
    """What `evaluate` found; `print` shows it as a Markdown table.

    Attributes:
      name, dataset: what the rows call the classifier (its "method") and the test images.
      rows: one dict per number, as in `results.jsonl`: run, method, seed, step, dataset, split,
        corruption, severity, metric, value, count.
      evaluation: the same numbers with reliability bins and the predictions of every condition.
      settings: of the evaluation.
      remarks: sentences to read with the numbers, such as what was left out.
      seconds: how long it took.
      data: digests that distinguish the test images from others of that name, see
        `Dataset.digests`; {} where they are not known.
    """

    name: str
    dataset: str
    rows: Sequence[Mapping[str, Any]]
    evaluation: Evaluation
    settings: Mapping[str, Any]
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0
    data: Mapping[str, str] = field(default_factory=dict)

    def table(self) -> Table:
        """A `rich` table: each measure on the clean images and its mean over corruptions."""
        from varmixup_jax.report.closing_table import closing_table

        return closing_table([self.as_run()])

    def __str__(self) -> str:
        from varmixup_jax.report.closing_table import one_run

        head, *lines = one_run(self.as_run())
        rule = ["---", *["---:"] * (len(head) - 1)]
        table = ["| " + " | ".join(line) + " |" for line in (head, rule, *lines)]
        return "\n".join([*table, *(f"\n{remark}" for remark in self.remarks)])

    def save(self, directory: Path | str) -> Path:
        """Writes a run directory, which `python -m varmixup_jax.report DIRECTORY ...` can compare.

        It gets `config.json`, `summary.json`, `results.jsonl`, `artifacts.npz` (reliability bins) and
        `logits.npz`, as a trained run does.

        Raises:
          ValueError: there is already a run.
        """
        place = Path(directory).expanduser()
        if (place / "summary.json").exists() or (place / "results.jsonl").exists():
            raise ValueError(f"{place}: holds a run, must be a new directory")
        place.mkdir(parents=True, exist_ok=True)
        config, summary = self._about()
        write_json(place / "config.json", config)
        write_arrays(place / "artifacts.npz", reliability_arrays(self.evaluation))
        if self.evaluation.predictions:
            arrays = logits_file.as_arrays(self.evaluation.predictions)
            write_arrays(place / logits_file.FILE, arrays)
        lines = (dumps(row) for row in self.rows)
        replace_text(place / "results.jsonl", "".join(line + "\n" for line in lines))
        write_json(place / "summary.json", summary)
        return place

    def _about(self) -> tuple[dict[str, Any], dict[str, Any]]:
        config = {"method": self.name, "seed": 0, "eval": dict(self.settings)}
        device = jax.devices()[0]
        return config, {
            "run": f"{self.dataset}-{self.name}",
            "method": self.name,
            "seed": 0,
            "dataset": self.dataset,
            "status": "done",
            "data": dict(self.data),
            "wall_seconds": self.seconds,
            "device": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
            "versions": {
                "varmixup_jax": __version__,
                "jax": jax.__version__,
                "numpy": np.__version__,
            },
            "command": " ".join(sys.argv),
            "remarks": list(self.remarks),
        }

    def as_run(self) -> Run:
        """The run that a report would read, without a directory."""
        from varmixup_jax.report.rows import Row, Run
        from varmixup_jax.saved_config import flatten

        config, summary = self._about()
        named = [{name: row[name] for name in Row._fields if name in row} for row in self.rows]
        return Run(
            path=Path(),
            name=summary["run"],
            method=self.name,
            seed=0,
            dataset=self.dataset,
            status="done",
            summary=summary,
            config=flatten(config),
            metrics=[],
            rows=[Row(**row) for row in named],
        )
