"""What rows are called: each setting off its default in words, and nothing that says nothing."""

import json
from pathlib import Path

import pytest

from varmixup_jax.report.labels import changed_settings, labels, vae_remarks
from varmixup_jax.report.measures import board
from varmixup_jax.report.names import DEFAULTS, METHODS
from varmixup_jax.report.rows import Run, read_runs
from varmixup_jax.report.settings import field_words
from varmixup_jax.saved_config import flatten

RESULTS = Path(__file__).resolve().parents[1] / "results"
VAE = {"latent": "spatial", "latent_size": 16, "downsample": 0, "width": 64, "blocks": 2,
       "gamma": 0.01, "seed": 0, "store": "/a"}  # fmt: skip


def made(method, own=None, vae=None, *, dataset="cifar10", ended=30.0, **config):
    """A run with the method's default settings but for `own`; `vae` changes those of its VAE."""
    settings = json.loads(json.dumps({**DEFAULTS.get(method, {}), **(own or {})}))
    used = {"key": "v", "kind": "standard", "psnr": 30.0} if vae is not None else None
    nested = {"method": method, "seed": 0, "epochs": 30.0, "batch_size": 512,
              "model": {"name": "resnet18", "dtype": "float32"}, "methods": {method: settings},
              "vae": {**VAE, **(vae or {})}, **config}  # fmt: skip
    summary = {"epochs": ended, "vae": used}
    return Run(Path(method), method, method, 0, dataset, "done", summary, flatten(nested), [], [])


def test_the_defaults_are_those_of_the_registry():
    registry = pytest.importorskip("varmixup_jax.methods")
    assert registry.paper_methods() == METHODS
    methods = registry.METHODS
    ours = {n: m for n, m in methods.items() if m.build.__module__.startswith("varmixup_jax.")}
    registered = {name: json.loads(json.dumps(m.settings)) for name, m in ours.items()}
    assert {name: json.loads(json.dumps(DEFAULTS[name])) for name in ours} == registered


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("views", 3, "3 views"),
        ("lam", "example", "λ per example"),
        ("input_noise", False, "no input noise"),
        ("decoded_views", True, "decoded views"),
        ("eps", 4 / 255, "ε 4/255"),
        ("step_size", 0.007, "step size 0.007"),
        ("stages", [0, 2], "stages 0, 2"),
    ],
)
def test_settings_in_words(setting, value, said):
    assert field_words(f"methods.mine.{setting}", value) == said


def test_a_default_is_not_named_and_everything_else_is():
    runs = [
        made("erm"),
        made("trades", {"beta": 1.0, "eps": 4 / 255}),
        made("varmixup", vae={}),
        made("varmixup", {"clean_weight": 0.5}, vae={}),
        made("augmix", {"views": 1}),
        made("augmix"),
    ]
    assert labels(runs) == [
        "erm", "trades · β 1 · ε 4/255", "varmixup", "varmixup · clean 0.5", "augmix · 1 view",
        "augmix · 2 views",
    ]  # fmt: skip
    assert [bool(changed_settings(run)) for run in runs] == [False, True, False, True, True, False]
    assert labels([runs[3]]) == ["varmixup · clean 0.5"]  # even where every row has it
    assert changed_settings(made("varmixup", {"alpha": 1, "clean_weight": 0})) == []


def test_shared_fields_are_named_where_they_are_not_the_usual():
    few = made("at", ended=3.0, attack_epochs=3.0)
    assert labels([made("erm"), made("mixup"), few]) == ["erm", "mixup", "at · 3 epochs"]
    half = made("erm", model={"name": "resnet18", "dtype": "bfloat16"})
    assert labels([made("erm"), half]) == ["erm · float32", "erm · bfloat16"]  # none is usual
    assert labels([made("erm"), made("mixup"), half]) == ["erm", "mixup", "erm · bfloat16"]
    assert labels([half]) == ["erm"]
    other = made("erm", ended=9, batch_size=64, ema_decay=0.9, model={"name": "resnet8"})
    assert labels([made("erm"), made("mixup"), other])[2] == "erm · resnet8 · 9 epochs · batch 64"


def test_many_shared_differences_are_counted():
    changes = {"batch_size": 64, "data": {"limit": 100}, "model": {"name": "a", "width": 3}}
    usual = {"data": {"limit": 0}, "model": {"name": "b", "width": 0}}
    found = labels([made("erm", **usual), made("mixup", **usual), made("erm", ended=1, **changes)])
    assert found[2] == "erm · a · width 3 · 1 epoch · 2 more"


def test_vaes_are_told_apart_by_few_words():
    usual = [made("varmixup", vae={}), made("mixup_r", vae={}), made("adv_varmixup", vae={})]
    small = {"latent_size": 4, "width": 32, "blocks": 1}
    assert labels([*usual, made("varmixup", vae=small)])[3] == "varmixup · VAE 8×8×4"
    near = {"latent_size": 4, "width": 16}
    found = labels([*usual, made("varmixup", vae=small), made("varmixup", vae=near)])
    assert found[3:] == ["varmixup · VAE 8×8×4, 32 wide", "varmixup · VAE 8×8×4, 16 wide"]
    vector = made("varmixup", vae={"latent": "vector", "latent_size": 256})
    assert labels([*usual, vector])[3] == "varmixup · VAE vector 256"
    assert labels([*usual, made("varmixup", vae={"gamma": 1.0})])[3] == "varmixup · VAE γ 1"
    pair = labels([made("varmixup", vae={}), made("varmixup", vae=small)])
    assert pair == ["varmixup · VAE 8×8×16", "varmixup · VAE 8×8×4"]


def test_vaes_that_samples_are_drawn_over_are_each_named():
    others = ["latent_size=4 width=32", "latent=vector latent_size=64 gamma=1e-3"]
    run = made("varmixup", vae={"others": others, "drawn": "example"})
    run.summary["vae"]["others"] = [{"psnr": 25.24}]  # of a second one nothing was noted
    label = (
        "varmixup · also VAE 8×8×4, 32 wide, per example · also VAE vector 64, γ 0.001, per example"
    )
    for beside in ([], [made("varmixup", vae={"others": [], "drawn": "batch"})]):
        assert labels([*beside, run])[-1] == label
    assert vae_remarks([run]) == [
        "VAE 8×8×16, 64 wide, 2 blocks, γ 0.01: 30.0 dB on the test set.",
        "VAE 8×8×4, 32 wide, 2 blocks, γ 0.01: 25.2 dB on the test set.",
        "VAE vector 64, 64 wide, 2 blocks, γ 0.001.",
    ]
    for damaged in (7, [7], {"0": {}}):
        run.summary["vae"]["others"] = run.config["vae.others"] = damaged
        assert labels([run])
        assert vae_remarks([run])


def test_a_vae_that_is_not_used_is_not_named():
    runs = [made("erm"), made("varmixup", vae={}), made("mixup_r", vae={})]
    runs.append(made("mixup", None))
    runs[-1].config["vae.width"] = 8
    assert labels(runs)[3] == "mixup"
    assert len(vae_remarks(runs)) == 1


@pytest.mark.parametrize(
    ("dataset", "vae", "words"),
    [
        ("cifar10", {}, "VAE 8×8×16, 64 wide, 2 blocks: 30.0 dB on the test set."),
        ("digits", {"blocks": 1}, "VAE 4×4×16, 64 wide, 1 block: 30.0 dB on the test set."),
        ("tiny_imagenet", {"downsample": 8}, "VAE 8×8×16, 64 wide, 2 blocks: 30.0 dB on the test set."),
        ("mine", {}, "VAE 16 channels, 64 wide, 2 blocks: 30.0 dB on the test set."),
    ],
)  # fmt: skip
def test_the_remark_states_the_vae(dataset, vae, words):
    assert vae_remarks([made("varmixup", vae=vae, dataset=dataset)]) == [words]


def test_no_two_rows_share_a_label():
    runs = [made("mine", {"a": n}, eval={"bins": n}) for n in (1, 2)]
    assert labels(runs) == ["mine · a 1 · eval bins 1", "mine · a 2 · eval bins 2"]
    many = [made("erm", other={str(i): n for i in range(5)}) for n in (1, 2)]
    assert labels(many) == ["erm · #1", "erm · #2"]
    absent = [made("erm"), made("erm", data={"new": 1})]
    assert len(set(labels(absent))) == 2


def test_the_rows_of_the_results():
    groups = board(read_runs([RESULTS / "cifar10-h200"]), "cifar10").groups
    apart = "views apart"  # rows of before they shared a batch with the clean images
    assert [group.label for group in groups] == [
        "erm", "mixup", "at · 10 epochs", "trades · 10 epochs", "iat · 10 epochs", "varmixup",
        "varmixup · α 0", "varmixup · clean 0.5", "varmixup · clean 0.5 · VAE 8×8×4",
        f"augmix · 1 view · {apart}", "restyle", f"restyle_augmix · 2 views · {apart}",
        f"varmixup_augmix · 1 view · {apart}", f"varmixup_augmix · 2 views · {apart}",
    ]  # fmt: skip
    assert [g.label for g in groups if not g.changed] == [
        "erm", "mixup", "at · 10 epochs", "trades · 10 epochs", "iat · 10 epochs", "varmixup",
        "restyle",
    ]  # fmt: skip
