"""Aggregation against numpy, the paper's numbers, Markdown, the README and the command."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from report_runs import make_run, row

from varmixup_jax import report
from varmixup_jax.report.__main__ import main
from varmixup_jax.report.markdown import BEGIN, END, markdown, replace_between_markers
from varmixup_jax.report.measures import adversarial_metrics, board, over_runs
from varmixup_jax.report.names import BENCHMARK, CORRUPTIONS, METHODS
from varmixup_jax.report.paper_numbers import published
from varmixup_jax.report.rows import read_runs
from varmixup_jax.report.tables import results


def rewrite(path, change):
    """Passes every row of a run through `change` (None drops it)."""
    lines = [json.loads(line) for line in (path / "results.jsonl").read_text().splitlines()]
    kept = [line for line in map(change, lines) if line is not None]
    (path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))


def cells(grid):
    """The texts of a grid by method and heading, headings without arrows."""
    heads = [re.sub("\xa0.*", "", heading) for heading in grid.headings]
    return {r[0].text: dict(zip(heads, [c.text for c in r], strict=True)) for r in grid.rows}


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

    rewrite(make_run(tmp_path), change)
    (group,) = board(read_runs([tmp_path]), "cifar10").groups
    (found,) = group.numbers
    expected = np.mean([values[c, s] for c in BENCHMARK for s in range(1, 6)])
    np.testing.assert_allclose(found["accuracy", "corrupted"], expected)
    everything = np.mean(list(values.values()))
    assert abs(found["accuracy", "corrupted"] - everything) > 1e-3  # the extras never enter
    assert cells(results(board(read_runs([tmp_path]), "cifar10")))["erm"]["Corrupted acc. (%)"] == (
        f"{100 * expected:.2f}"
    )


def test_an_incomplete_benchmark_has_no_mean(tmp_path):
    path = make_run(tmp_path)
    rewrite(path, lambda r: None if (r["corruption"], r["severity"]) == ("fog", 3) else r)
    grid = results(board(read_runs([tmp_path]), "cifar10"))
    assert not any(heading.startswith(("Corrupted", "ECE corr")) for heading in grid.headings)
    rows = [json.loads(line) for line in (path / "results.jsonl").read_text().splitlines()]
    values = {
        (r["corruption"], r["severity"]): r["value"] for r in rows if r["metric"] == "accuracy"
    }

    def mean(names):
        return f"{100 * np.mean([v for (name, _), v in values.items() if name in names]):.2f} %"

    told = f"erm-cifar10-0: {mean(BENCHMARK)} corrupted acc., mean of 74 of 75 conditions."
    assert told in grid.remarks
    rewrite(path, lambda r: r if r["corruption"] in ("none", "fog", "frost") else None)
    runs = read_runs([tmp_path])
    (told,) = (r for r in results(board(runs, "cifar10")).remarks if "mean of" in r)
    assert told == (
        f"erm-cifar10-0: {mean(('fog', 'frost'))} corrupted acc., mean of 9 of 75 conditions, of 2 "
        "of 15 corruptions: frost, fog."
    )
    rewrite(path, lambda r: r if r["corruption"] != "fog" else None)
    grid = results(board([*read_runs([tmp_path])], "cifar10", "erm-cifar10-0"))
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

        rewrite(make_run(tmp_path, method), change)
    runs = read_runs([tmp_path])
    sums = {
        m: np.array([sum(errors[m, c, s] for s in range(1, 6)) for c in BENCHMARK])
        for m in ("erm", "mixup")
    }
    expected = np.mean(sums["mixup"] / sums["erm"])
    assert abs(expected - sums["mixup"].sum() / sums["erm"].sum()) > 1e-4  # not a ratio of sums
    table = cells(results(board(runs, "cifar10", "erm-cifar10-0")))
    assert table["mixup"]["mCE vs erm-cifar10-0 (%)"] == f"{100 * expected:.1f}"
    assert table["erm"]["mCE vs erm-cifar10-0 (%)"] == "100.0"
    assert not any("mCE" in heading for heading in results(board(runs, "cifar10")).headings)


def test_seeds_are_averaged_and_the_best_is_bold(tmp_path):
    for seed, shift in enumerate((0.0, 0.01, 0.03)):
        make_run(tmp_path, "erm", seed, shift=shift, corruptions=())
    make_run(tmp_path, "varmixup", 0, shift=0.05, corruptions=())
    make_run(tmp_path, "varmixup", 1, shift=9.0, corruptions=(), status="failed")
    make_run(tmp_path, "varmixup", 2, shift=9.0, corruptions=(), status="running")
    grid = results(board(read_runs([tmp_path]), "cifar10"))
    table = cells(grid)
    std = 100 * np.std([0.0, 0.01, 0.03], ddof=1)
    assert table["erm"]["Clean acc. (%)"] == f"{90 + 4 / 3:.2f} ± {std:.2f}"
    assert table["erm"]["Seeds"] == "3"
    assert table["varmixup"]["Clean acc. (%)"] == "95.00"
    assert table["varmixup"]["Seeds"] == "1"
    assert bold(grid) == {"varmixup"}
    equal = [r[list(table["erm"]).index("NLL (nats)")].best for r in grid.rows]
    assert equal == [False, False]


def test_lower_is_better_where_it_is(tmp_path):
    make_run(tmp_path, "erm", corruptions=())
    worse = make_run(tmp_path, "mixup", corruptions=())
    rewrite(worse, lambda r: r | {"value": r["value"] * 1.5} if r["metric"] == "ece" else r)
    grid = results(board(read_runs([tmp_path]), "cifar10"))
    column = [h.startswith("ECE clean") for h in grid.headings].index(True)
    assert [r[column].best for r in grid.rows] == [True, False]


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
    summary = json.loads((path / "summary.json").read_text())
    with (path / "results.jsonl").open("a") as file:
        file.write(json.dumps(row(summary, "accuracy", 0.5)) + "\n")
        file.write(json.dumps(row(summary, "accuracy", 0.1) | {"split": "validation"}) + "\n")
    assert cells(results(board(read_runs([tmp_path]), "cifar10")))["erm"]["Clean acc. (%)"] == (
        "50.00"
    )


def test_a_diverged_run_shows_and_never_wins(tmp_path):
    make_run(tmp_path, "erm", corruptions=())
    bad = make_run(tmp_path, "trades", corruptions=())
    rewrite(bad, lambda r: r | {"value": None} if r["metric"] == "accuracy" else r)
    make_run(tmp_path, "trades", 1, corruptions=())  # beside a seed that did not
    make_run(tmp_path, "iat", shift=0.01, corruptions=())
    grid = results(board(read_runs([tmp_path]), "cifar10"))
    assert cells(grid)["trades"]["Clean acc. (%)"] == "nan"
    assert bold(grid) == {"iat"}


def test_attacks_come_weakest_first(tmp_path):
    make_run(tmp_path, corruptions=())
    (group,) = board(read_runs([tmp_path]), "cifar10").groups
    names = ["pgd20_accuracy", "pgd50_accuracy", "apgd50_accuracy", "adversarial_accuracy"]
    assert adversarial_metrics(group.numbers) == names
    table = cells(results(board(read_runs([tmp_path]), "cifar10")))
    assert table["erm"]["Worst-case adv. acc. (%)"] == "24.00"


@pytest.mark.parametrize(("dataset", "shown"), [("cifar10", True), ("cifar100", True),
                                                ("digits", False)])  # fmt: skip
def test_the_papers_numbers_stand_beside_ours(tmp_path, dataset, shown):
    for method in ("erm", "mine"):
        make_run(tmp_path, method, dataset=dataset)
    grid = results(board(read_runs([tmp_path]), dataset))
    paper = [heading for heading in grid.headings if "Paper" in heading]
    assert paper == (["Paper: clean acc. (%)", "Paper: corrupted acc. (%)"] if shown else [])
    if shown:
        expected = {"cifar10": "69.29 ± 0.21", "cifar100": "47.30 ± 0.32"}[dataset]
        assert cells(grid)["erm"]["Paper: corrupted acc. (%)"] == expected
        assert cells(grid)["mine"]["Paper: corrupted acc. (%)"] == "–"
        for line in grid.rows:  # never bold, never ours
            assert not any(c.best for c, h in zip(line, grid.headings, strict=True) if "Paper" in h)


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
    text = markdown([results(board(read_runs([tmp_path]), "cifar10"))])
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert r"a\|b&lt;script&gt;" in text
    assert "<script" not in text
    assert "**91.00**" in text


def test_readme_is_replaced_between_its_markers(tmp_path):
    make_run(tmp_path / "runs", corruptions=())
    readme = tmp_path / "README.md"
    readme.write_text(f"# Title\n{BEGIN}\nstale text\n{END}\nend\n")
    readme.chmod(0o664)
    for _ in range(2):  # the second time changes nothing
        assert main([str(tmp_path / "runs"), "--readme", str(readme)]) == 0
    text = readme.read_text()
    assert text.startswith(f"# Title\n{BEGIN}\n**CIFAR-10, test set: the paper's methods**")
    assert text.endswith(f"{END}\nend\n")
    assert "stale" not in text
    assert text.count("| erm |") == 1
    assert readme.stat().st_mode & 0o777 == 0o664
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "runs"]


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_readme_without_markers_is_left_alone(tmp_path, text):
    readme = tmp_path / "README.md"
    readme.write_text(text)
    with pytest.raises(ValueError, match=r"README\.md: must hold .* each exactly once"):
        replace_between_markers(readme, "new")
    assert readme.read_text() == text


def test_refusals_of_the_command_are_one_line(tmp_path, capsys):
    path = make_run(tmp_path / "runs", corruptions=())
    assert main([str(tmp_path / "absent")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main([str(path), "--baseline", "erm-cifar10-9", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "baseline = 'erm-cifar10-9': must be one of erm-cifar10-0" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_two_data_sets_are_two_tables(tmp_path):
    make_run(tmp_path, "erm", dataset="cifar100", corruptions=())
    make_run(tmp_path, "erm", dataset="cifar10", corruptions=())
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}")
    report.update_readme([tmp_path], readme)
    titles = [line for line in readme.read_text().splitlines() if line.startswith("**C")]
    assert [title.split(",")[0] for title in titles] == ["**CIFAR-10", "**CIFAR-100"]
    assert len(CORRUPTIONS) == 19
