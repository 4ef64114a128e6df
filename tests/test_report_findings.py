"""Who wins where: paired tests against scipy and by hand, and sentences that claim no more."""

import numpy as np
import pytest
from report_runs import edit_rows, make_run
from scipy import stats

from varmixup_jax.report import significance
from varmixup_jax.report.findings import sentences, table
from varmixup_jax.report.measures import board
from varmixup_jax.report.rows import read_runs

CELLS = significance.CELLS


def read(root):
    return board(read_runs([root]), "cifar10")


def logits(path, right, corrupted=None, labels=None):
    """A logits.npz in which image i is classified rightly where `right[i]` says so."""
    labels = np.arange(len(right)) % 3 if labels is None else labels
    rows = lambda hit: np.eye(3, dtype=np.float16)[np.where(hit, labels, (labels + 1) % 3)]  # noqa: E731
    views = (
        {f"{c}/{s}": rows(corrupted[i]) for i, (c, s) in enumerate(CELLS)}
        if corrupted is not None
        else {}
    )
    np.savez(path / "logits.npz", labels=labels.astype(np.int32), clean=rows(right), **views)


@pytest.fixture
def two(tmp_path):
    """ERM and VarMixup, 200 images: 30 that VarMixup alone has right, 12 that ERM alone has."""
    erm, ours = (
        make_run(tmp_path, "erm", metrics=2),
        make_run(tmp_path, "varmixup", metrics=2, shift=0.09),
    )
    right = np.ones((2, 200), bool)
    right[0, :30] = right[1, 30:42] = False
    rng = np.random.default_rng(0)
    views = rng.uniform(size=(2, len(CELLS), 200)) < np.array([0.6, 0.7])[:, None, None]
    logits(erm, right[0], views[0])
    logits(ours, right[1], views[1])
    return tmp_path, right, views


def test_mcnemar_and_the_bootstrap_are_those_of_the_textbook(two):
    root, right, views = two
    (pair,) = significance.pairs(read(root))
    assert (pair.images, pair.only_ours, pair.only_theirs) == (200, 30, 12)
    both = sum(stats.binom.pmf(k, 42, 0.5) for k in range(43) if k <= 12 or k >= 30)
    assert pair.p == pytest.approx(both)
    assert pair.clean == pytest.approx(right[1].mean() - right[0].mean())
    share = views.mean(axis=1)
    mean, low, high = pair.corrupted
    assert mean == pytest.approx(share[1].mean() - share[0].mean())
    # A mean of many independent differences: the interval is nearly that of the normal.
    error = np.std(share[1] - share[0], ddof=1) / np.sqrt(200)
    np.testing.assert_allclose(
        [low, high], [mean - 1.96 * error, mean + 1.96 * error], atol=0.2 * error
    )
    unpaired = np.sqrt(share[0].var() + share[1].var()) / np.sqrt(200)
    assert high - low < 2.2 * 1.96 * unpaired


def test_what_varies_from_image_to_image_alike_cancels():
    """Two classifiers that find the same images hard differ surely though each varies widely."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(size=500)
    theirs, ours = hard, np.minimum(hard + 0.01, 1.0)
    _, low, _ = significance.bootstrap(ours - theirs)
    assert low > 0
    assert stats.ttest_ind(ours, theirs).pvalue > 0.5


def test_sentences_say_what_the_images_allow(two):
    found = read(two[0])
    pairs = significance.pairs(found)
    clean, corrupted, errors = sentences(found, pairs)
    assert clean == (
        "On clean images, varmixup is best with 99.0 %, 9.0 points above erm (90.0 %): on the same 200 "
        "images more than chance (McNemar p = 0.0079), one seed each."
    )
    assert corrupted.startswith("Under corruption, varmixup is best with ")
    assert "on the same 200 images more than chance (95 % interval +" in corrupted
    linearity = "local linearity error of erm and varmixup is equal at 0.6400 nats"
    assert errors == f"Calibration error of erm and varmixup is equal at 5.00 %, {linearity}."
    grid = table(found, pairs)
    assert [cell.text for cell in grid.rows[0]][:5] == ["varmixup", "+9.0", "30", "12", "0.0079"]


def test_a_difference_that_chance_would_give_is_called_so(tmp_path):
    erm, ours = (
        make_run(tmp_path, "erm", metrics=2),
        make_run(tmp_path, "mixup", metrics=2, shift=0.005),
    )
    right = np.ones((2, 200), bool)
    right[0, :2] = right[1, 2:3] = False
    views = np.random.default_rng(3).uniform(size=(2, len(CELLS), 200)) < 0.7
    logits(erm, right[0], views[0])
    logits(ours, right[1])
    found = read(tmp_path)
    clean, corrupted, _ = sentences(found, significance.pairs(found))
    assert "no more than chance would give (McNemar p = 1)" in clean
    assert "one seed each, too few to say" in corrupted  # clean logits alone say nothing of views
    logits(ours, right[1], views[1])
    _, corrupted, _ = sentences(found, significance.pairs(found))
    assert "no more than chance would give (95 % interval −" in corrupted


def test_seeds_decide_where_there_are_several(tmp_path):
    for seed, shift in enumerate((0.0, 0.002, 0.001)):
        make_run(tmp_path, "erm", seed, shift=shift, metrics=2, corruptions=())
        make_run(tmp_path, "mixup", seed, shift=shift + 0.05, metrics=2, corruptions=())
    (clean, _) = sentences(read(tmp_path), ())
    values = 0.9 + np.array([0.0, 0.002, 0.001])
    p = stats.ttest_ind(values + 0.05, values, equal_var=False).pvalue
    assert clean.endswith(
        f"more than the seeds vary (3 and 3 seeds, Welch p {'< 0.001' if p < 1e-3 else p})."
    )


def test_one_run_is_told_without_a_contest(tmp_path):
    make_run(tmp_path, "erm", metrics=2)
    found = sentences(read(tmp_path), ())
    assert found[0] == "erm classifies 90.0 % of the clean test images correctly."
    assert not any("best" in sentence or "seed" in sentence for sentence in found)


def test_other_images_are_not_paired(two):
    root, right, views = two
    (path,) = [run.path for run in read_runs([root]) if run.method == "varmixup"]
    logits(path, right[1], views[1], labels=(np.arange(200) + 1) % 3)
    assert significance.pairs(read(root)) == []


def test_a_level_pair_is_called_level(tmp_path):
    make_run(tmp_path, "erm", metrics=2, corruptions=())
    make_run(tmp_path, "mixup", metrics=2, corruptions=(), shift=0.0001)
    assert sentences(read(tmp_path), ())[0] == (
        "On clean images, mixup and erm are level at 90.0 %."
    )


def test_errors_are_told_with_what_their_seeds_allow(tmp_path):
    for seed, scale in enumerate((1.0, 1.1, 0.9)):
        for method, factor in (("erm", 1.0), ("varmixup", 0.2)):

            def change(line, ece=scale * factor, linearity=scale * (1 + seed * factor)):
                of_ece, of_linearity = line["metric"] == "ece", line["metric"].startswith("local")
                times = ece if of_ece else linearity if of_linearity else 1.0
                return line | {"value": line["value"] * times}

            edit_rows(make_run(tmp_path, method, seed, metrics=2, corruptions=()), change)
    errors = sentences(read(tmp_path), ())[-1]
    first, second = errors.split("; local")
    assert first.startswith(
        "Calibration error is lowest for varmixup (1.00 %; erm 5.00 %): more than"
    )
    assert second.startswith(" linearity error is lowest for varmixup (")
    assert second.endswith(".")
    assert "no more than the seeds vary (3 and 3 seeds, Welch p = " in second
