"""The figures of `docs/concepts`, drawn from what the package computes.

    PYTHONPATH=examples python docs/figures.py [OUT]

Trains a small VAE and three small classifiers on the digits first; a minute on two CPU cores.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from own_loop import LATENT, classify, decode, dense, encode, minimise

import varmixup_jax as vj
from varmixup_jax.data import load
from varmixup_jax.evaluation.calibration import bin_means, top_prediction
from varmixup_jax.mmd import KERNELS, make_kernel, mmd_to_normal
from varmixup_jax.vicinal.mixing import interpolate

STYLE = Path(vj.__file__).parent / "report" / "charts.mplstyle"
COMPARED = ("erm", "mixup", "varmixup")


def train():
    """Test images and labels, a VAE's mean encoder and decoder, and a classifier a method."""
    data = load("digits", val_fraction=0.0, split_seed=0)
    images = jnp.asarray(data.train_images, jnp.float32) / 255.0
    labels = jax.nn.one_hot(data.train_labels, 10)

    def vae_loss(vae, key, image, label):
        return vj.mmd_vae_loss(
            key, partial(encode, vae), partial(decode, vae), image, gamma=0.01
        ).loss

    vae = {
        "encoder": dense(jax.random.key(1), (64, 256, 2 * LATENT)),
        "decoder": dense(jax.random.key(2), (LATENT, 256, 64)),
    }
    vae = minimise(vae_loss, vae, images, labels, epochs=60, learning_rate=3e-3)
    mean, decoder = (lambda image: encode(vae, image)[0]), partial(decode, vae)

    classifiers = {}
    for name in COMPARED:
        (term,) = vj.build(name)

        def loss(layers, key, image, label, term=term):
            env = vj.Env(partial(classify, layers), mean, decoder)
            sample = term.vicinity(key, env, vj.Draw(image, label))
            return term.distance(classify(layers, sample.image), sample.label, None).mean()

        layers = dense(jax.random.key(3), (64, 128, 10))
        layers = minimise(loss, layers, images, labels, epochs=40, learning_rate=3e-3)
        classifiers[name] = partial(classify, layers)
    test = jnp.asarray(data.test_images, jnp.float32) / 255.0
    return test, jax.nn.one_hot(data.test_labels, 10), mean, decoder, classifiers


def show(axis, image):
    axis.imshow(np.asarray(image)[..., 0], cmap="gray", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def vicinal_risk():
    """Points of two classes, and samples of three vicinities around them."""
    turn = jnp.linspace(0.2, 2.9, 12)
    moons = jnp.stack([0.36 + 0.25 * jnp.cos(turn), 0.4 + 0.4 * jnp.sin(turn)], axis=-1)
    points = jnp.concatenate([moons, 1.0 - moons])[:, None, None]
    label = jnp.repeat(jnp.eye(2), 12, axis=0)

    def noise(key, env, draw):
        moved = draw.image + 0.03 * jax.random.normal(key, draw.image.shape)
        return draw._replace(image=jnp.clip(moved, 0.0, 1.0))

    vicinities = {
        "dirac: ERM": vj.dirac,
        "Gaussian noise": noise,
        "mix(pixels): Mixup": vj.mix(vj.pixels, lam="example"),
    }
    figure, axes = plt.subplots(1, 3, figsize=(8, 2.8), sharex=True, sharey=True)
    env = vj.Env(logits=lambda image: image[:, 0, 0])
    for axis, (title, vicinity) in zip(axes, vicinities.items(), strict=True):
        keys = jax.random.split(jax.random.key(0), 30)
        samples = [vicinity(key, env, vj.Draw(points, label)) for key in keys]
        place = np.concatenate([s.image[:, 0, 0] for s in samples])
        first = np.concatenate([s.label[:, 0] for s in samples])
        axis.scatter(*place.T, c=first, cmap="coolwarm", s=4, alpha=0.4, linewidths=0)
        axis.scatter(*np.asarray(points[:, 0, 0]).T, c=label[:, 0], cmap="coolwarm", s=28, ec="k")
        axis.set(title=title, xticks=[], yticks=[])
    return figure


def latent_mixing(test, mean, decoder):
    """One pair of digits mixed as pixels and as latent means."""
    weights = jnp.linspace(1.0, 0.0, 7)
    first, second = (jnp.repeat(test[i : i + 1], 7, axis=0) for i in (3, 19))
    rows = {
        "pixels": interpolate(first, second, weights),
        "latents": decoder(interpolate(mean(first), mean(second), weights)),
    }
    figure, axes = plt.subplots(2, 7, figsize=(8, 2.6))
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image, weight in zip(row, images, weights, strict=True):
            show(axis, image)
            if name == "latents":
                axis.set_xlabel(f"λ = {weight:.2f}")
        row[0].set_ylabel(name)
    return figure


def mmd():
    """MMD^2 to N(0, I) of samples that are too narrow, right, or too wide, by kernel."""
    dim, scales = 64, np.linspace(0.2, 2.0, 19)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
    distances = jnp.linspace(0.0, 4.0 * dim, 100)
    sample = jax.random.normal(jax.random.key(1), (512, dim))
    for name in KERNELS:
        kernel = make_kernel(name, dim)
        value = kernel(distances) / kernel(jnp.zeros(()))
        left.plot(distances / dim, value, label=name)
        estimates = [
            float(mmd_to_normal(jax.random.key(0), scale * sample, kernel=name)) for scale in scales
        ]
        right.plot(scales, np.array(estimates) / max(estimates), label=name)
    left.set(xlabel="squared distance / d", ylabel="k / k(0)", title="kernel, d = 64")
    right.set(
        xlabel="standard deviation of z", ylabel="MMD² / its largest", title="distance to N(0, I)"
    )
    left.legend()
    return figure


def terms(test, label, mean, decoder, classifiers):
    """What the model is shown: one sample of five vicinities around the same images."""
    env = vj.Env(classifiers["erm"], mean, decoder)
    attack = vj.attack(vj.ce, ball=vj.linf(0.15), steps=10, step_size=0.03)
    vicinities = {
        "dirac": vj.dirac,
        "mix(pixels)": vj.mix(vj.pixels, lam="example"),
        "mix(latents)": vj.mix(vj.latents, lam="example"),
        "attack(ce)": attack,
        "augmix": vj.augmix(severity=6.0),
    }
    draw = vj.Draw(test[:8], label[:8])
    figure, axes = plt.subplots(len(vicinities), 8, figsize=(7, 4.6))
    for row, (name, vicinity) in zip(axes, vicinities.items(), strict=True):
        for axis, image in zip(row, vicinity(jax.random.key(4), env, draw).image, strict=True):
            show(axis, image)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def calibration(test, label, classifiers):
    """Reliability of three classifiers on noisy test images."""
    noisy = vj.corrupt(jax.random.key(0), "gaussian_noise", test, severity=3)
    figure, axes = plt.subplots(1, 3, figsize=(8, 2.9), sharex=True, sharey=True)
    for axis, (name, logits) in zip(axes, classifiers.items(), strict=True):
        bins = vj.reliability_bins(*top_prediction(logits(noisy), label), num_bins=10)
        confidence, accuracy = bin_means(bins)
        axis.plot([0, 1], [0, 1], color="0.6", lw=1)
        axis.scatter(confidence, accuracy, s=4 + np.asarray(bins.count))
        error = float(vj.expected_calibration_error(bins))
        axis.set(title=f"{name}: ECE {error:.1%}", xlabel="confidence", xlim=(0, 1), ylim=(0, 1))
    axes[0].set_ylabel("accuracy")
    return figure


def linearity(test, label, classifiers):
    """Local linearity error by radius, mean over 200 test images."""
    figure, axis = plt.subplots(figsize=(5, 2.9))
    radii = np.array([0, 2, 4, 6, 8]) / 255
    for name, logits in classifiers.items():

        def loss(image, logits=logits):
            return vj.cross_entropy(logits(image), label[:200])

        errors = [
            vj.local_linearity_error(loss, test[:200], key=jax.random.key(0), eps=eps, restarts=1)
            for eps in radii
        ]
        axis.plot(radii * 255, [float(error.mean()) for error in errors], marker="o", label=name)
    axis.set(xlabel="ε in pixels / 255", ylabel="linearity error (nats)")
    axis.legend()
    return figure


def main(out: str = "docs/images") -> None:
    plt.style.use(STYLE)
    test, label, mean, decoder, classifiers = train()
    figures = {
        "vicinal-risk": vicinal_risk(),
        "latent-mixing": latent_mixing(test, mean, decoder),
        "mmd": mmd(),
        "terms": terms(test, label, mean, decoder, classifiers),
        "calibration": calibration(test, label, classifiers),
        "linearity": linearity(test, label, classifiers),
    }
    for name, figure in figures.items():
        figure.savefig(Path(out) / f"{name}.png", dpi=120, bbox_inches="tight", facecolor="white")


if __name__ == "__main__":
    main(*sys.argv[1:])
