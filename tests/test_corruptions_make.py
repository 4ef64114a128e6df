"""The maker's directory: what it holds, and what its command refuses."""

import json

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from varmixup_jax import corruptions
from varmixup_jax.corruptions import __main__ as command
from varmixup_jax.corruptions.make import make

NAMES = ("contrast", "pixelate")
N = 7
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(N) % 3


def test_make_writes_what_corrupt_gives_in_severity_order(tmp_path):
    made = make(tmp_path / "c", IMAGES, LABELS, NAMES, batch_size=3, seed=1)
    floats = jnp.asarray(IMAGES, jnp.float32) / 255
    for name in NAMES:
        stored = np.load(made / f"{name}.npy")
        assert stored.dtype == np.uint8
        assert stored.shape == (5 * N, 8, 8, 3)
        for severity in corruptions.SEVERITIES:
            want = corruptions.corrupt(jax.random.key(0), name, floats, severity)
            rows = stored[(severity - 1) * N : severity * N]
            np.testing.assert_array_equal(rows, np.round(np.asarray(want) * 255))
    np.testing.assert_array_equal(np.load(made / "labels.npy"), np.tile(LABELS, 5))
    facts = json.loads((made / "corruptions.json").read_text())
    assert facts["frost"] == "synthetic"
    assert facts["seed"] == 1
    assert not list(made.glob("*.part"))


def test_command_makes_a_directory_from_npz_and_from_a_folder(tmp_path, capsys):
    np.savez(tmp_path / "set.npz", x_test=IMAGES, y_test=LABELS[:, None])
    arguments = ["make", "--names", "contrast", "--batch_size", "3"]
    out = tmp_path / "a"
    assert command.main([*arguments, "--out", str(out), "--images", str(tmp_path / "set.npz")]) == 0
    assert "contrast.npy" in capsys.readouterr().out
    for index, picture in enumerate(IMAGES):
        folder = tmp_path / "folder" / f"class{LABELS[index]}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{index}.png")
    other = tmp_path / "b"
    assert (
        command.main([*arguments, "--out", str(other), "--images", str(tmp_path / "folder")]) == 0
    )
    order = np.argsort(LABELS, kind="stable")
    first, second = (np.load(path / "contrast.npy").reshape(5, N, -1) for path in (out, other))
    np.testing.assert_array_equal(first[:, order], second)
