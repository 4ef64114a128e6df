"""Aggregation against numpy, the paper's numbers, Markdown, the README and the command."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from report_runs import edit_rows, make_run

from varmixup_jax.report.__main__ import main
from varmixup_jax.report.markdown import markdown, markers
from varmixup_jax.report.measures import adversarial_metrics, board, over_runs
from varmixup_jax.report.names import BENCHMARK, METHODS
from varmixup_jax.report.paper_numbers import published
from varmixup_jax.report.rows import read_runs
from varmixup_jax.report.tables import results

BEGIN, END = markers()


def cells(grid):
    """The texts of a grid by method and heading, headings without arrows."""
    heads = [re.sub("\xa0.*", "", heading) for heading in grid.headings]
    return {r[0].text: dict(zip(heads, [c.text for c in r], strict=True)) for r in grid.rows}


def grid_of(root, baseline=None, dataset="cifar10"):
    return results(board(read_runs([root]), dataset, baseline))


def bold(grid):
    return {r[0].text for r in grid.rows if r[2].best}


@pytest.mark.parametrize("n", [2, 3, 7])
def test_mean_and_sample_deviation(n):
    values = np.random.default_rng(n).normal(size=n)
    frame = pd.DataFrame({"group": ["a"] * n + ["one"], "value": [*values, 1.5]})
    stats = over_runs(frame.groupby("group").value)
    expected = [values.mean(), values.std(ddof=1), n]
    np.testing.assert_allclose(stats.loc["a"], expected)
    assert abs(stats.loc["a", "std"] - values.std()) > 1e-3  # the population's is another number
    np.testing.assert_array_equal(stats.loc["one"], [1.5, np.nan, 1])


def test_corrupted_mean_is_over_the_fifteen(tmp_path):
    rng, values = np.random.default_rng(0), {}

    def change(line):
        if line["corruption"] != "none" and line["metric"] == "accuracy":
            line["value"] = values[line["corruption"], line["severity"]] = rng.uniform(0.2, 0.9)
        return line

    edit_rows(make_run(tmp_path), change)
    (group,) = board(read_runs([tmp_path]), "cifar10").groups
    (found,) = group.numbers
    expected = np.mean([values[c, s] for c in BENCHMARK for s in range(1, 6)])
    np.testing.assert_allclose(found["accuracy", "corrupted"], expected)
    everything = np.mean(list(values.values()))
    assert abs(found["accuracy", "corrupted"] - everything) > 1e-3  # the extras never enter
    assert cells(grid_of(tmp_path))["erm"]["Corrupted acc. (%)"] == (f"{100 * expected:.2f}")


def test_an_incomplete_benchmark_has_no_mean(tmp_path):
    path = make_run(tmp_path)
    edit_rows(path, lambda r: None if (r["corruption"], r["severity"]) == ("fog", 3) else r)
    grid = grid_of(tmp_path)
    assert not any(heading.startswith(("Corrupted", "ECE corr")) for heading in grid.headings)
    rows = [json.loads(line) for line in (path / "results.jsonl").read_text().splitlines()]
    values = {
        (r["corruption"], r["severity"]): r["value"] for r in rows if r["metric"] == "accuracy"
    }

    def mean(names):
        return f"{100 * np.mean([v for (name, _), v in values.items() if name in names]):.2f} %"

    told = f"erm-cifar10-0: {mean(BENCHMARK)} corrupted acc., mean of 74 of 75 conditions."
    assert told in grid.remarks
    edit_rows(path, lambda r: r if r["corruption"] in ("none", "fog", "frost") else None)
    (told,) = (r for r in grid_of(tmp_path).remarks if "mean of" in r)
    assert told == (
        f"erm-cifar10-0: {mean(('fog', 'frost'))} corrupted acc., mean of 9 of 75 conditions, of 2 "
        "of 15 corruptions: frost, fog."
    )
    edit_rows(path, lambda r: r if r["corruption"] != "fog" else None)
    grid = grid_of(tmp_path, "erm-cifar10-0")
    assert "mean of 1 of 15 corruptions: frost." in "".join(grid.remarks)
    assert not any("mCE" in heading or "orrupt" in heading for heading in grid.headings)


def test_mce_by_hand(tmp_path):
    errors = {}
    for method in ("erm", "mixup"):
        rng = np.random.default_rng(len(method))

        def change(line, rng=rng, method=method):
            if line["metric"] == "accuracy" and line["corruption"] in BENCHMARK:
                line["value"] = rng.uniform(0.3, 0.9)
                errors[method, line["corruption"], line["severity"]] = 1 - line["value"]
            return line

        edit_rows(make_run(tmp_path, method), change)
    sums = {
        m: np.array([sum(errors[m, c, s] for s in range(1, 6)) for c in BENCHMARK])
        for m in ("erm", "mixup")
    }
    expected = np.mean(sums["mixup"] / sums["erm"])
    assert abs(expected - sums["mixup"].sum() / sums["erm"].sum()) > 1e-4  # not a ratio of sums
    table = cells(grid_of(tmp_path, "erm-cifar10-0"))
    assert table["mixup"]["mCE vs erm-cifar10-0 (%)"] == f"{100 * expected:.1f}"
    assert table["erm"]["mCE vs erm-cifar10-0 (%)"] == "100.0"
    assert not any("mCE" in heading for heading in grid_of(tmp_path).headings)


def test_seeds_are_averaged_and_the_best_is_bold(tmp_path):
    for seed, shift in enumerate((0.0, 0.01, 0.03)):
        make_run(tmp_path, "erm", seed, shift=shift, corruptions=())
    ours = make_run(tmp_path, "varmixup", 0, shift=0.05, corruptions=())
    edit_rows(ours, lambda r: r | {"value": r["value"] / 2} if r["metric"] == "ece" else r)
    make_run(tmp_path, "varmixup", 1, shift=9.0, corruptions=(), status="failed")
    make_run(tmp_path, "varmixup", 2, shift=9.0, corruptions=(), status="running")
    grid = grid_of(tmp_path)
    table = cells(grid)
    std = 100 * np.std([0.0, 0.01, 0.03], ddof=1)
    assert table["erm"]["Clean acc. (%)"] == f"{90 + 4 / 3:.2f} ± {std:.2f}"
    assert table["erm"]["Seeds"] == "3"
    assert table["varmixup"]["Clean acc. (%)"] == "95.00"
    assert table["varmixup"]["Seeds"] == "1"
    assert bold(grid) == {"varmixup"}
    best = {name: [r[place].best for r in grid.rows] for place, name in enumerate(table["erm"])}
    assert best["ECE clean (%)"] == [False, True]  # lower is better
    assert best["NLL (nats)"] == [False, False]  # equal


def test_other_configurations_are_other_rows(tmp_path):
    for seed in (0, 1):
        for weight in (0.0, 0.5):
            make_run(
                tmp_path / str(weight), "varmixup", seed, config={"clean_weight": weight},
                corruptions=(),
            )  # fmt: skip
    labels = [g.label for g in board(read_runs([tmp_path]), "cifar10").groups]
    assert labels == ["varmixup · clean weight 0", "varmixup · clean weight 0.5"]


def test_a_repeated_seed_counts_once(tmp_path):
    make_run(tmp_path / "a", "erm", 0, corruptions=(), name="first")
    make_run(tmp_path / "b", "erm", 0, corruptions=(), name="second", shift=0.05)
    found = board(read_runs([tmp_path]), "cifar10")
    assert [len(g.runs) for g in found.groups] == [1]
    assert [run.name for run in found.repeats] == ["second"]
    assert any("second repeats a seed" in remark for remark in results(found).remarks)


def test_a_condition_measured_again_counts_as_measured_last(tmp_path):
    path = make_run(tmp_path, corruptions=())
    line = json.loads((path / "results.jsonl").read_text().splitlines()[0])
    with (path / "results.jsonl").open("a") as file:
        for change in ({"value": 0.5}, {"value": 0.1, "split": "validation"}):
            file.write(json.dumps(line | change) + "\n")
    assert cells(grid_of(tmp_path))["erm"]["Clean acc. (%)"] == ("50.00")


def test_a_diverged_run_shows_and_never_wins(tmp_path):
    make_run(tmp_path, "erm", corruptions=())
    bad = make_run(tmp_path, "trades", corruptions=())
    edit_rows(bad, lambda r: r | {"value": None} if r["metric"] == "accuracy" else r)
    make_run(tmp_path, "trades", 1, corruptions=())  # beside a seed that did not
    make_run(tmp_path, "iat", shift=0.01, corruptions=())
    grid = grid_of(tmp_path)
    assert cells(grid)["trades"]["Clean acc. (%)"] == "nan"
    assert bold(grid) == {"iat"}


def test_attacks_come_weakest_first(tmp_path):
    make_run(tmp_path, corruptions=())
    (group,) = board(read_runs([tmp_path]), "cifar10").groups
    names = ["pgd20_accuracy", "pgd50_accuracy", "apgd50_accuracy", "adversarial_accuracy"]
    assert adversarial_metrics(group.numbers) == names
    table = cells(grid_of(tmp_path))
    assert table["erm"]["Worst-case adv. acc. (%)"] == "24.00"


def test_the_papers_numbers_stand_beside_ours(tmp_path):
    for method, dataset in (("erm", "cifar100"), ("mine", "cifar100"), ("erm", "digits")):
        make_run(tmp_path, method, dataset=dataset)
    grid = grid_of(tmp_path, dataset="cifar100")
    paper = [place for place, heading in enumerate(grid.headings) if "Paper" in heading]
    assert [grid.headings[p] for p in paper] == [
        "Paper: clean acc. (%)",
        "Paper: corrupted acc. (%)",
    ]
    assert cells(grid)["erm"]["Paper: corrupted acc. (%)"] == "47.30 ± 0.32"
    assert cells(grid)["mine"]["Paper: corrupted acc. (%)"] == "–"
    assert not any(row[p].best for row in grid.rows for p in paper)
    assert not any("Paper" in h for h in grid_of(tmp_path, dataset="digits").headings)


def test_the_papers_table_is_whole():
    best, sums = {}, {}
    for name in ("cifar10", "cifar100"):
        rows = {method: published(name, method) for method in METHODS}
        best[name] = max(rows, key=lambda method: rows[method]["corrupted"])
        sums[name] = round(sum(mean for row in rows.values() for mean, _ in row.values()), 2)
    assert best == {"cifar10": "varmixup", "cifar100": "adv_varmixup"}
    assert sums == {"cifar10": 1509.73, "cifar100": 1043.19}
    assert published("digits", "erm") is published("cifar10", "augmix") is None


def test_markdown_is_a_table_that_no_name_can_break(tmp_path):
    make_run(tmp_path, "a|b<script>", corruptions=())
    make_run(tmp_path, "erm", corruptions=(), shift=0.01)
    text = markdown([grid_of(tmp_path)])
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert r"a\|b&lt;script&gt;" in text
    assert "<script" not in text
    assert "**91.00**" in text


def test_readme_is_replaced_between_its_markers(tmp_path):
    make_run(tmp_path / "runs", corruptions=())
    make_run(tmp_path / "runs", corruptions=(), dataset="cifar100")
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n{BEGIN}\nstale text\n{END}\nend\n")
    readme.chmod(0o664)
    for _ in range(2):  # the second time changes nothing
        assert main([str(tmp_path / "runs"), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith(f"# Title\n{BEGIN}\n**CIFAR-10, test set: the paper's methods**")
    assert text.endswith(f"{END}\nend\n")
    assert "stale" not in text
    tables = [line.split(",")[0] for line in text.splitlines() if line.startswith("**C")]
    assert tables == ["**CIFAR-10", "**CIFAR-100"]
    assert readme.stat().st_mode & 0o777 == 0o664
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "runs"]
