"""Each benchmark runs in its smallest form; its rows are finite and say what they claim."""

import json
import math
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "benchmarks" / "timing.py").is_file():
    pytest.skip("benchmarks/ is not part of this installation", allow_module_level=True)
sys.path.insert(0, str(ROOT))

from benchmarks import all as every  # noqa: E402
from benchmarks import cases, flops, loop, memory, mmd_forms, scaling, tables, timing  # noqa: E402
from benchmarks.report import Report, arguments  # noqa: E402
from benchmarks.settings import NETS  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # PyTorch has deprecation warnings of its own
QUICK = ["--small", "--repeats", "2", "--seconds", "0"]


@pytest.fixture(autouse=True)
def as_a_user_has_it():
    """Benchmarks give one key to every repeat."""
    with jax.debug_key_reuse(False), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def torch():
    found = pytest.importorskip("torch")
    threads = found.get_num_threads()
    found.set_num_threads(1)
    # oneDNN of torch 2.13 writes past its buffers in channels-last gradients of so narrow nets.
    with found.backends.mkldnn.flags(enabled=False):
        yield found
    found.set_num_threads(threads)


def check(rows, at_least):
    assert len(rows) >= at_least
    for row in rows:
        assert row.error == "", row
        for value in (row.ours, row.peer, row.ratio, row.low, row.high):
            assert math.isfinite(value)
            assert value >= 0
        assert row.ratio == pytest.approx(row.ours / row.peer)
        assert row.low <= row.high
        assert row.ours_name
        assert row.peer_name


def test_variants_take_turns_and_the_ratio_is_of_the_medians(monkeypatch):
    seen = []
    ticks = iter(np.cumsum([0.0, *[1.0] * 100]))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    times = timing.alternate(
        {"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, repeats=3, seconds=0
    )
    assert "".join(seen) == "aabb" + "ababab"
    assert times == {"a": [1.0] * 3, "b": [1.0] * 3}
    row = timing.compared("x", {"a": [1.0, 2.0, 9.0], "b": [4.0, 4.0, 3.0]}, "a", "b", goal=0.6)
    assert (row.ours, row.peer, row.ratio) == (2000.0, 4000.0, 0.5)
    assert (row.low, row.high) == (0.25, 3.0)
    assert row.met()
    assert not timing.figures("y", ("a", 1.0), ("b", 2.0), "s", goal=0.6, at_least=True).met()


def test_a_failing_piece_leaves_its_error_and_the_next_one_runs(tmp_path, capsys):
    args = arguments("x").parse_args(["--out", str(tmp_path / "x.json")])
    report = Report("x", args, ["--out", "y", "--small"])

    def fails():
        yield timing.figures("good", ("a", 3.0), ("b", 2.0), "s")
        raise RuntimeError("out of luck")

    report.piece("first", fails)
    report.piece("second", lambda: [timing.figures("two", ("a", 1.0), ("b", 2.0), "s")])
    content = json.loads((tmp_path / "x.json").read_text())
    assert [row["what"] for row in content["rows"]] == ["good", "first", "two"]
    assert "out of luck" in content["rows"][1]["error"]
    assert content["command"] == "python -m benchmarks.x --small"
    assert {"backend", "device", "versions", "date", "others"} <= set(content["provenance"])
    assert "out of luck" in capsys.readouterr().out


def test_tables_are_written_between_their_markers(tmp_path):
    args = arguments("x").parse_args(["--out", str(tmp_path / "one.json")])
    report = Report("one", args, [])
    report.piece("p", lambda: [timing.figures("work", ("a", 1.0), ("b", 2.0), "s", goal=0.6)])
    page = tmp_path / "page.md"
    empty = "text\n<!-- table:one -->\nold\n<!-- end -->\n<!-- table:two -->\nkept\n<!-- end -->\n"
    page.write_text(empty)
    tables.main([str(tmp_path), "--into", str(page)])
    text = page.read_text()
    assert "| work | a: 1 s | b: 2 s | 0.5 |  | ≤ 0.6, met |" in text
    assert "old" not in text
    assert "kept" in text
    tables.main([str(tmp_path), "--into", str(page)])
    assert page.read_text() == text


def test_every_table_of_the_page_has_its_piece():
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    named = {match["name"] for match in tables.MARKED.finditer(page)}
    assert named == {*every.PIECES, "accelerator"}


@pytest.mark.parametrize(
    ("name", "forward", "step"),
    [
        ("resnet18", 1.111, 3.329),
        pytest.param("resnet34", 2.319, 6.953, marks=pytest.mark.slow),
        pytest.param("wrn28_10", 10.49, 31.46, marks=pytest.mark.slow),
    ],
)
def test_flop_counts(name, forward, step):
    net = NETS["r18"]._replace(classifier=name, width=None, vae_widths=(4,))
    module = cases.models.build_classifier(
        name, num_classes=10, mean=cases.MEAN, std=cases.STD, width=None
    )
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), image)
    case = cases.make_case(NETS["toy"])._replace(
        size=net.size, module=module, apply=cases.as_apply(module), variables=shapes
    )
    assert flops.forward(case) / 1e9 == pytest.approx(forward, rel=1e-3)
    assert flops.train_step(case) / 1e9 == pytest.approx(step, rel=1e-3)


@pytest.mark.slow
def test_loop():
    check(loop.main(QUICK).rows, 1)


@pytest.mark.slow
def test_scaling_agrees_with_one_device():
    rows = scaling.main([*QUICK, "--counts", "1", "2", "--via", "jit", "--method", "erm"]).rows
    check(rows, 2)
    assert rows[-1].peer_name == "allowed"
    assert rows[-1].ratio < 1


def test_attack_memory_does_not_grow():
    (row,) = memory.attack_growth("toy")
    check([row], 1)
    assert row.met()


@pytest.fixture(scope="module")
def case():
    return cases.make_case(NETS["toy"])


def test_peers_compute_what_we_compute(torch, case):
    from benchmarks import torch_nets

    classifier, vae = torch_nets.nets(case)
    image, _ = cases.image_batch(case, 4)
    seen, latent = torch.tensor(np.asarray(image)).permute(0, 3, 1, 2), case.latents[:4]
    with torch.no_grad():
        logits = classifier.eval()(seen).numpy()
        decoded = vae.decoder(torch.tensor(latent).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        log_std = vae.encoder(seen)[1].permute(0, 2, 3, 1)

    @jax.jit
    def ours(variables, vae, image, latent):
        code = case.vae.encode(vae, image)[1]
        return cases.logits(case)(variables, image), case.vae.decode(vae, latent), code

    found = ours(case.variables, case.vae_params, image, latent)
    for mine, theirs, atol in zip(
        found, (logits, decoded, log_std), (1e-5, 1e-5, 1e-4), strict=True
    ):
        np.testing.assert_allclose(theirs, mine, atol=atol)


def test_peers_train_as_we_train_and_take_a_step_of_every_method(torch, case):
    from benchmarks.torch_peers import Peer

    order = cases.batches(case, 16, 1)
    peer = Peer(case)
    theirs = [peer.step("erm", torch.tensor(order[0]).long()).item() for _ in range(3)]
    step, state, fixed = cases.step_parts(case, "erm")
    step, ours = jax.jit(step), []
    for _ in range(3):
        state, seen = step(state, fixed, order[0], jax.random.key(0))
        ours.append(float(seen["loss"]))
    np.testing.assert_allclose(theirs, ours, rtol=1e-4)
    assert theirs[2] < theirs[0]
    for method in ("mixup", "manifold_mixup", "mixup_r", "varmixup", "at", "trades", "iat"):
        assert math.isfinite(peer.step(method, torch.arange(16)).item()), method


def test_peers_mmd_is_ours(torch):
    from benchmarks.torch_peers import mmd

    a, b = np.random.default_rng(0).normal(size=(2, 8, 4)).astype(np.float32)
    ours = mmd_forms.mmd_squared(a, b, mmd_forms.make_kernel("rbf", 4))
    for form in ("dot", "broadcast"):
        found = mmd(torch.tensor(a), torch.tensor(b), form).item()
        assert found == pytest.approx(float(ours), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attack", "vae_step", "mmd_forms", "crop_flip"])
def test_piece(torch, name):
    module = __import__(f"benchmarks.{name}", fromlist=["main"])
    check(module.main(QUICK).rows, 2)


@pytest.mark.slow
def test_train_step(torch, monkeypatch):
    from benchmarks import train_step

    monkeypatch.setattr(torch, "compile", lambda module: module)  # a compiler takes its time
    report = train_step.main([*QUICK, "--methods", "erm", "mixup"])
    check(report.rows, 4)
    assert [row.peer_name for row in report.rows][-1] == "our ERM"


@pytest.mark.slow
def test_children(torch):
    from benchmarks import startup

    check(list(startup.measure("toy", 1)), 3)


def test_peak_memory_is_the_median_over_processes(monkeypatch):
    seen = iter([400.0, 200.0, 500.0, 250.0, 450.0, 300.0])
    monkeypatch.setattr(memory, "run_child", lambda *_: {"peak": next(seen)})
    (row,) = memory.peaks("toy", 3)
    assert (row.ours, row.peer, row.ratio) == (450.0, 250.0, 1.8)


def test_accelerator_needs_few_packages():
    """A machine with an accelerator may have little beside JAX; see docs/benchmarks.md."""
    absent = ["array_record", "matplotlib", "ml_collections", "PIL", "sklearn", "torch"]
    absent += ["tensorflow_datasets"]
    blocked = f"import sys; sys.modules.update(dict.fromkeys({absent}))"
    done = subprocess.run(
        [sys.executable, "-c", f"{blocked}; import benchmarks.accelerator"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_accelerator_in_miniature(torch, monkeypatch, tmp_path):
    from benchmarks import accelerator

    monkeypatch.setattr(torch, "compile", lambda module: module)
    path = tmp_path / "accelerator.json"
    report = accelerator.main([*QUICK, "--out", str(path)])
    check(report.rows, 9)
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) == len(report.rows)
    attack = next(row for row in report.rows if row.what.startswith("attack step"))
    assert attack.ours == pytest.approx(attack.ratio * attack.peer)
