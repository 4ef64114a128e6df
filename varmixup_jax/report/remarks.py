"""The lines below a table: what its numbers come from."""

from __future__ import annotations

from varmixup_jax.report.measures import Board
from varmixup_jax.report.names import BENCHMARK, SEVERITIES
from varmixup_jax.report.paper_numbers import CITATION
from varmixup_jax.report.vaes import vae_remarks


def remarks(board: Board, paper: bool) -> list[str]:
    """One line each: set-up, what is averaged and marked, VAEs, sources, what is left out.

    Args:
      board: the finished runs.
      paper: whether the paper's numbers stand beside them.
    """
    lines = [_set_up(board)]
    runs = [run for group in board.groups for run in group.runs]
    found = [numbers for group in board.groups for numbers in group.numbers]
    if any(len(group.runs) > 1 for group in board.groups):
        lines.append(
            "Mean ± sample standard deviation over seeds; the best mean of a column in bold."
        )
    else:
        lines.append("One seed each; the best of a column in bold.")
    if any(("accuracy", "corrupted") in numbers for numbers in found):
        lines.append("Corrupted: mean over the 15 corruptions × 5 severities; extras left out.")
    cells = [("accuracy", f"{c} {s}") for c in BENCHMARK for s in SEVERITIES]
    for run, numbers in zip(runs, found, strict=True):
        count = sum(cell in numbers for cell in cells)
        if 0 < count < len(cells):
            lines.append(f"{run.name}: {count} of 75 conditions measured, no mean shown.")
    notes: dict[str, set[str]] = {}
    for run in runs:
        for row in run.rows:
            if row.dataset == board.dataset and row.split == board.split:
                for name, value in row.notes:
                    notes.setdefault(name, set()).add(value)
    lines += vae_remarks(runs)
    lines += [
        f"{k.replace('_', ' ').capitalize()}: {', '.join(sorted(v))}."
        for k, v in sorted(notes.items())
    ]
    for run in board.repeats:
        lines.append(f"{run.name} repeats a seed of the same configuration and is left out.")
    if paper:
        lines.append(f"Paper: as printed in {CITATION}; set-ups differ, not a reproduction.")
    return lines


def _set_up(board: Board) -> str:
    """What was trained on what: values that differ between runs stand side by side."""
    runs = [run for group in board.groups for run in group.runs]

    def values(field: str, source: str = "config") -> str:
        found = dict.fromkeys(str(getattr(run, source).get(field, "")) for run in runs)
        return " or ".join(value.removesuffix(".0") for value in found if value)

    parts = [values("model.name")]
    for field, source, text in (
        ("model.width", "config", "width {}"),
        ("epochs", "summary", "{} epochs"),
        ("batch_size", "config", "batch {}"),
        ("data.limit", "config", "{} training images"),
        ("eval.examples", "config", "{} test images"),
        ("device", "summary", "on {}"),
    ):
        value = values(field, source)
        if value not in ("", "0"):
            parts.append(text.format(value))
    return f"Set-up: {', '.join(part for part in parts if part)}."
