"""Run directories made by hand for the tests of the report: real digits, invented numbers."""

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from varmixup_jax.report.names import BENCHMARK, CORRUPTIONS

CLEAN = {
    "accuracy": 0.9, "nll": 0.4, "brier": 0.15, "ece": 0.05, "ece_adaptive": 0.04,
    "calibration_gap": 0.03, "overconfidence_error": 0.02, "pgd20_accuracy": 0.3,
    "pgd50_accuracy": 0.28, "apgd50_accuracy": 0.25, "adversarial_accuracy": 0.24,
    **{f"local_linearity_error_{n}/255": 0.01 * n * n for n in (2, 4, 6, 8)},
}  # fmt: skip


def row(run, metric, value, corruption="none", severity=0, **more):
    """One line of results.jsonl."""
    return {
        "run": run["run"], "method": run["method"], "seed": run["seed"], "step": 1000,
        "dataset": run["dataset"], "split": "test", "corruption": corruption,
        "severity": severity, "metric": metric, "value": value, "count": 10000, **more,
    }  # fmt: skip


def images():
    """Eight-by-eight digits, uint8 [n, 8, 8, 1]."""
    return (load_digits().images[:32] * 255 / 16).astype(np.uint8)[..., None]


def make_run(
    root, method="erm", seed=0, dataset="cifar10", status="done", shift=0.0, name=None,
    config=None, corruptions=CORRUPTIONS, artifacts=False, metrics=100, notes=None,
):  # fmt: skip
    """Writes one run directory below `root` and returns its path; `shift` moves its accuracies."""
    name = name or f"{method}-{dataset}-{seed}"
    path = Path(root) / f"{method}_{dataset}_{seed}_{abs(hash((name, str(config)))) % 9999}"
    path.mkdir(parents=True)
    summary = {
        "run": name, "method": method, "seed": seed, "dataset": dataset, "status": status,
        "wall_seconds": 600.0 + seed, "steps": 1000, "epochs": 10.0, "checkpoint": "last",
        "params_sha256": "ab" * 32, "versions": {"jax": "0.10.2", "numpy": "2.4.6"},
        "git": "0123456789abcdef-dirty", "device": "8 x TPU v4", "parameters": 11173962,
        "command": f"python -m varmixup_jax.main --method={method} --seed={seed}",
        "error": "loss is nan" if status == "failed" else None,
        "vae": {"key": "vae-1f", "psnr": 27.1, "wall_seconds": 60.0} if artifacts else None,
    }  # fmt: skip
    settings = {"method": method, "seed": seed, "seeds": [seed], "epochs": 10,
                "data": {"source": dataset}, "batch_size": 128,
                "model": {"name": "resnet18", "width": 64}}  # fmt: skip
    (path / "summary.json").write_text(json.dumps(summary))
    (path / "config.json").write_text(json.dumps(settings | (config or {})))
    curve = []
    for step in np.linspace(10, 1000, metrics).astype(int).tolist():
        rise = 1 - np.exp(-step / 200)
        curve.append({"step": step, "epoch": step // 100, "loss": 2.3 - 2 * rise,
                      "accuracy": (0.8 + shift) * rise, "clean_accuracy": (0.9 + shift) * rise,
                      "learning_rate": 0.1, "grad_norm": 1.0, "images_per_second": 9e3})  # fmt: skip
    curve += [{"step": s, "val_accuracy": 0.85 + shift, "val_nll": 0.5} for s in (500, 1000)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in curve))
    if status == "done":
        rows = [row(summary, m, v + (shift if m == "accuracy" else 0)) for m, v in CLEAN.items()]
        for index, corruption in enumerate(corruptions):
            for severity in range(1, 6):
                drop = 0.02 * severity * (1 + index % 4) if corruption in BENCHMARK else 0.6
                for metric, value in (("accuracy", 0.9 - drop + shift), ("ece", 0.05 + drop / 2),
                                      ("calibration_gap", 0.03 + drop / 2)):  # fmt: skip
                    more = notes or {}
                    rows.append(row(summary, metric, value, corruption, severity, **more))
        (path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows))
    if artifacts:
        np.savez(path / "artifacts.npz", **arrays())
    return path


def arrays():
    """All artifacts of a run, from real digits."""
    digits = images()
    weight = np.linspace(0, 1, 9)[None, :, None, None, None]
    mixed = weight * digits[:4, None] + (1 - weight) * digits[4:8, None]
    shown = np.stack([np.stack([np.clip(digits[0] + 3.0 * s * (i % 7), 0, 255)
                                for s in range(1, 6)]) for i in range(19)])  # fmt: skip
    centre = (np.arange(15) + 0.5) / 15
    count = np.where(np.arange(15) < 3, 0, np.arange(15) ** 2).astype(float)
    return {
        "originals": digits[:16], "reconstructions": np.clip(digits[:16] // 8 * 8, 0, 255),
        "latent_grid": (mixed // 32 * 32).astype(np.uint8), "pixel_grid": mixed.astype(np.uint8),
        "prior_samples": digits[::-1], "gaussian_samples": digits[:20],
        "corruption_original": digits[0], "corruption_sheet": shown.astype(np.uint8),
        "corruption_names": np.array(CORRUPTIONS), "reliability_count": count,
        "reliability_confidence": centre, "reliability_accuracy": centre**1.2,
        "reliability_corrupted_count": count, "reliability_corrupted_confidence": centre,
        "reliability_corrupted_accuracy": centre**1.6, "vae_step": np.arange(9.0),
        "vae_loss": np.exp(-np.arange(9.0)), "vae_mmd": 0.1 * np.exp(-np.arange(9.0)),
        "vae_psnr": 10 + np.arange(9.0),
    }  # fmt: skip


def edit_rows(path, change):
    """Passes every row of a run through `change` (None drops it)."""
    lines = [json.loads(line) for line in (path / "results.jsonl").read_text().splitlines()]
    kept = [line for line in map(change, lines) if line is not None]
    (path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))


class Page(HTMLParser):
    """What a browser would take a page for; refuses tags that do not nest, and what is no content."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.shown, self.headings = [], set(), [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag in self.open[-1:]:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.shown.append(data)
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)

    def refuse(self, data):
        raise AssertionError(f"a comment, a declaration or an instruction: {data!r}")

    handle_comment = unknown_decl = handle_pi = refuse
