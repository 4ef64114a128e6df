"""A network and a VAE small enough to be written twice: for the package, and in NumPy's float64.

The batch has as many classes as examples and the labels are the identity matrix, so that the label of
a mixed sample *is* its matrix of weights M: y' = M y = M. What was drawn is read off there, and every
other number follows from the equations.
"""

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from varmixup_jax.types import Draw, identity_tap
from varmixup_jax.vicinal.objective import Frozen, empirical_risk

BATCH, SHAPE, WIDTH = 6, (2, 3, 1), 5
PIXELS, CLASSES, LATENT = 6, BATCH, 6
EPSILON, MOMENTUM = 1e-5, 0.9


def _normal(seed, *shape, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


IMAGE = np.random.default_rng(0).uniform(0.02, 0.98, (BATCH, *SHAPE)).astype(np.float32)
LABEL = np.eye(BATCH, dtype=np.float32)
CACHED = _normal(1, BATCH, LATENT) + 2 * np.eye(BATCH, dtype=np.float32)
PARAMS = {
    "w1": _normal(2, PIXELS, WIDTH, scale=2.0),
    "scale": 1 + _normal(3, WIDTH, scale=0.3),
    "bias": _normal(4, WIDTH, scale=0.3),
    "w2": _normal(5, WIDTH, WIDTH),
    "w3": _normal(6, WIDTH, CLASSES, scale=1.5),
    "b3": _normal(7, CLASSES, scale=0.5),
}
STATS = {"mean": _normal(8, WIDTH), "var": 1 + np.abs(_normal(9, WIDTH))}
VAES = {
    "standard": (_normal(10, PIXELS, LATENT), _normal(11, LATENT, PIXELS)),
    "adversarial": (_normal(12, PIXELS, LATENT), _normal(13, LATENT, PIXELS)),
    "grid": (_normal(14, PIXELS, LATENT), _normal(15, LATENT, PIXELS)),
}
GRID = (3, 1, 2)


def _forward(np_, params, stats, image, train, tap):
    """Two tanh layers, the first with batch normalisation, and a linear head."""
    hidden = tap(0, image).reshape(len(image), -1) @ params["w1"]
    mean, var = stats["mean"], stats["var"]
    if train:
        mean, var = hidden.mean(axis=0), ((hidden - hidden.mean(axis=0)[None]) ** 2).mean(axis=0)
        pairs = (("mean", mean), ("var", var))
        stats = {name: MOMENTUM * stats[name] + (1 - MOMENTUM) * new for name, new in pairs}
    hidden = (hidden - mean[None]) / np_.sqrt(var + EPSILON)[None]
    hidden = tap(1, np_.tanh(hidden * params["scale"][None] + params["bias"][None]))
    hidden = tap(2, np_.tanh(hidden @ params["w2"]))
    return hidden @ params["w3"] + params["b3"][None], stats


def apply(params, stats, image, *, train, tap=identity_tap):
    """The network as the package takes it."""
    return _forward(jnp, params, stats, image, train, tap)


def forward(params, stats, image, *, train, tap=identity_tap):
    """The network in float64."""
    return _forward(np, wide(params), wide(stats), np.asarray(image, np.float64), train, tap)


def wide(tree):
    return {name: np.asarray(leaf, np.float64) for name, leaf in tree.items()}


def encode(vae, image):
    code = (image - 0.5).reshape(len(image), -1) @ VAES[vae][0]
    return code.reshape(-1, *GRID) if vae == "grid" else code


def decode(vae, latent):
    """Every image another, whatever the latent."""
    np_ = np if isinstance(latent, np.ndarray) else jnp
    logits = latent.reshape(len(latent), -1) @ VAES[vae][1]
    return (1 / (1 + np_.exp(-logits))).reshape(-1, *SHAPE)


def flipped(image, flips):
    return np.where(np.asarray(flips)[:, None, None, None], image[:, :, ::-1], image)


class Pass(NamedTuple):
    """One term in float64: weight * mean distance(f(image), label), `joint` with the one before."""

    weight: float
    image: np.ndarray
    label: np.ndarray
    distance: str = "ce"
    tap: object = identity_tap
    clean: bool = False
    joint: bool = False


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def distance(name, logits, label, clean_logits=None):
    """CE, BCE of the softmax, KL(clean || this), JS(clean, this): `[B]`."""
    log_q = log_softmax(logits)
    q = np.exp(log_q)
    if name == "ce":
        return -(label * log_q).sum(axis=1)
    if name == "bce":
        return -(label * log_q + (1 - label) * np.log1p(-q)).mean(axis=1)
    log_p = log_softmax(clean_logits)
    p = np.exp(log_p)
    if name == "kl":
        return (p * (log_p - log_q)).sum(axis=1)
    middle = np.log((p + q) / 2)
    return ((p * (log_p - middle)).sum(axis=1) + (q * (log_q - middle)).sum(axis=1)) / 2


def risk(passes, params, stats):
    """(loss, statistics after all passes in order, soft accuracy of the first)."""
    loss, clean, accuracy = 0.0, None, None
    first_of_each = [i for i, one in enumerate(passes) if not one.joint]
    found = []
    for start, stop in pairwise([*first_of_each, len(passes)]):
        batch = passes[start:stop]

        def tap(stage, hidden, batch=batch):
            parts = zip(batch, np.split(hidden, len(batch)), strict=True)
            return np.concatenate([one.tap(stage, part) for one, part in parts])

        image = np.concatenate([one.image for one in batch])
        logits, stats = forward(params, stats, image, train=True, tap=tap)
        found += np.split(logits, len(batch))
    for one, logits in zip(passes, found, strict=True):
        clean = logits if one.clean else clean
        loss += one.weight * distance(one.distance, logits, one.label, clean).mean()
        if accuracy is None:
            accuracy = one.label[np.arange(len(logits)), logits.argmax(axis=1)].mean()
    return loss, stats, accuracy


def slope(function, point, step=1e-5):
    """The gradient of a scalar function by central differences in float64."""
    point = np.array(point, np.float64)
    out = np.zeros_like(point)
    for place in np.ndindex(*point.shape):
        ends = []
        for sign in (1, -1):
            moved = point.copy()
            moved[place] += sign * step
            ends.append(function(moved))
        out[place] = (ends[0] - ends[1]) / (2 * step)
    return out


def gradient(passes, params, stats):
    """d loss / d params, every entry by central differences."""
    params = wide(params)
    return {
        name: slope(lambda leaf, name=name: risk(passes, {**params, name: leaf}, stats)[0], leaf)
        for name, leaf in params.items()
    }


def pgd(origin, start, loss, *, eps, step_size, steps):
    """Madry et al. 2018, section 2.1, l-infinity: ascent by signs from `start` around `origin`."""
    image = np.asarray(start, np.float64)
    for _ in range(steps):
        image = image + step_size * np.sign(slope(lambda x: loss(x).sum(), image))
        image = np.clip(np.clip(image, origin - eps, origin + eps), 0, 1)
    return image


def pairing_of(matrix, atol=1e-5):
    """(lambda `[B]`, partners `[B]`) of M = lambda I + (1 - lambda) P; refuses any other matrix."""
    rest = matrix - np.diag(np.diag(matrix))
    partners = np.where(rest.max(axis=1) > atol, rest.argmax(axis=1), np.arange(len(matrix)))
    assert sorted(partners) == list(range(len(matrix)))
    lam = np.where(partners == np.arange(len(matrix)), np.nan, np.diag(matrix))
    built = np.diag(np.where(np.isnan(lam), 1.0, lam))
    for i, j in enumerate(partners):
        built[i, j] += 0.0 if np.isnan(lam[i]) else 1 - lam[i]
    np.testing.assert_allclose(matrix, built, atol=atol)
    known = lam[~np.isnan(lam)]
    assert ((known > -atol) & (known < 1 + atol)).all()
    return lam, partners


class Seen(NamedTuple):
    """What the package computed, and what it drew on the way."""

    loss: float
    gradient: dict
    stats: dict
    accuracy: float
    samples: list  # one `Draw` a term
    keys: list  # of terms and augmentations, as they were handed out
    flips: list  # of each augmentation, in order
    codes: list  # what was decoded


def observe(terms, *, seed=0, vae="standard", cached=False, attack_bn="running"):
    """One evaluation of the package's risk of `terms`, with everything random written down."""
    samples, keys, flips, codes = [], [], [], []

    def note(key):
        keys.append(jax.random.key_data(jax.random.clone(key)))

    def spied(vicinity):
        def spy(key, env, draw):
            note(key)
            samples.append(vicinity(key, env, draw))
            return samples[-1]

        return spy

    def augment(key, image):
        note(key)
        flips.append(np.asarray(jax.random.bernoulli(key, 0.5, (BATCH,))))
        return jnp.where(jnp.asarray(flips[-1])[:, None, None, None], image[:, :, ::-1], image)

    def decoded(latent):
        codes.append(np.asarray(latent))
        return decode(vae, latent)

    frozen = Frozen(lambda image: encode(vae, image), decoded, augment)
    latent = CACHED.reshape(-1, *GRID) if vae == "grid" else CACHED
    draw = Draw(jnp.asarray(IMAGE), jnp.asarray(LABEL), latent=latent if cached else None)
    terms = tuple(term._replace(vicinity=spied(term.vicinity)) for term in terms)
    value = empirical_risk(terms, apply, attack_bn=attack_bn)
    key = jax.random.key(seed, impl="rbg")

    def loss(params):
        out = value(params, STATS, key, draw, frozen)
        return out.loss, out

    slopes, out = jax.grad(loss, has_aux=True)(jax.tree.map(jnp.asarray, PARAMS))
    return Seen(out.loss, slopes, out.stats, out.accuracy, samples, keys, flips, codes)


def view_of(seen):
    """What the terms sampled around: the augmented batch."""
    return flipped(IMAGE.astype(np.float64), seen.flips[0])


def check(seen, passes):
    """Loss, gradient, statistics and accuracy of the package are those of the passes."""
    loss, stats, accuracy = risk(passes, PARAMS, STATS)
    np.testing.assert_allclose(seen.loss, loss, rtol=2e-5)
    np.testing.assert_allclose(seen.accuracy, accuracy, rtol=1e-5, atol=1e-6)
    for name, expected in gradient(passes, PARAMS, STATS).items():
        np.testing.assert_allclose(
            seen.gradient[name], expected, rtol=1e-3, atol=1e-5, err_msg=name
        )
    for name, expected in stats.items():
        np.testing.assert_allclose(seen.stats[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)
