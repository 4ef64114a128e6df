"""What is drawn of a VAE: samples of a Gaussian fitted to its latents, and its training curves."""

import json

import numpy as np

from varmixup_jax.runs.pictures import gaussian_samples, vae_curves


def latents():
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((500, 4)) @ rng.standard_normal((4, 4)) + [3.0, 0.0, -2.0, 1.0]
    return mixed.astype(np.float32).reshape(500, 2, 2)


def test_samples_have_the_mean_and_the_full_covariance_of_the_latents():
    flat = latents().reshape(500, 4).astype(np.float64)
    drawn = gaussian_samples(np.random.default_rng(1), latents(), 40_000)
    assert drawn.shape == (40_000, 2, 2)
    assert drawn.dtype == np.float32
    drawn = drawn.reshape(-1, 4).astype(np.float64)
    scale = np.sqrt(np.diag(np.cov(flat.T)))
    np.testing.assert_allclose(drawn.mean(axis=0), flat.mean(axis=0), atol=0.03 * scale.max())
    close = 0.04 * np.outer(scale, scale)
    assert np.all(np.abs(np.cov(drawn.T) - np.cov(flat.T)) < close)
    assert np.abs(np.cov(flat.T)[0, 1:]).max() > 3 * close[0, 1:].max()  # no diagonal


def test_curves_of_a_vae_are_read_and_never_cost_the_run(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert vae_curves(path) == {}
    lines = [{"step": s, "loss": 1 / s, "mmd": 0.1, "psnr": 20.0} for s in (1, 2)]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"step": 3}]))
    found = vae_curves(path)
    assert {name: array.tolist() for name, array in found.items()} == {
        "vae_step": [1, 2], "vae_loss": [1, 0.5], "vae_mmd": [0.1, 0.1], "vae_psnr": [20, 20],
    }  # fmt: skip
    path.write_text('{"step": 1')
    assert vae_curves(path) == {}
