"""The tables in README.md and docs/ are what the report makes of the rows in results/."""

import shutil
from pathlib import Path

import pytest

from varmixup_jax import report

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = [
    ("README.md", "results", "cifar10-h200", "short", None),
    ("docs/experiments.md", "cifar10-h200", "cifar10-h200", "kinds", None),
    ("docs/experiments.md", "cifar10-cpu", "cifar10-cpu", "full", "cifar10-erm-s0"),
    ("docs/experiments.md", "cifar10-cpu-latent", "cifar10-cpu-latent", "kinds", None),
]


@pytest.mark.parametrize(("page", "block", "runs", "layout", "baseline"), BLOCKS)
def test_a_table_does_not_drift_from_its_rows(tmp_path, page, block, runs, layout, baseline):
    copy = Path(shutil.copy(ROOT / page, tmp_path))
    report.update_readme([ROOT / "results" / runs], copy, baseline, layout, block)
    assert copy.read_text(encoding="utf-8") == (ROOT / page).read_text(encoding="utf-8")
