"""The nine methods of the source paper's table, as data."""

from __future__ import annotations

from varmixup_jax import checks
from varmixup_jax.attacks.pgd import attack, gaussian_start, linf, uniform_start
from varmixup_jax.losses import bce, ce, kl_to_clean
from varmixup_jax.methods.registry import register
from varmixup_jax.types import Term
from varmixup_jax.vicinal.hidden import mix_hidden
from varmixup_jax.vicinal.mixing import (
    chain,
    dirac,
    mix,
    noisy_latents,
    pixels,
    reconstructed_mix,
    reconstructions,
)


def with_clean(vicinal: Term, clean_weight: float) -> tuple[Term, ...]:
    """(1 - w) * vicinal + w * CE on the clean batch."""
    checks.in_range(0.0, 1.0, clean_weight=clean_weight)
    if clean_weight == 0:
        return (vicinal,)
    weighted = vicinal._replace(weight=(1.0 - clean_weight) * vicinal.weight)
    return weighted, Term(clean_weight, dirac, ce)


@register("erm", paper=True, summary="cross-entropy on the training images")
def erm() -> tuple[Term, ...]:
    """Empirical risk minimisation: E CE(f(x), y)."""
    return (Term(1.0, dirac, ce),)


@register("mixup", paper=True, summary="interpolated pixels and labels")
def mixup(*, alpha: float = 1.0, lam: str = "batch") -> tuple[Term, ...]:
    """Mixup (Zhang et al. 2018)."""
    return (Term(1.0, mix(pixels, alpha=alpha, lam=lam), ce),)


@register("mixup_r", paper=True, vae="standard", summary="interpolated VAE reconstructions")
def mixup_r(
    *,
    alpha: float = 1.0,
    lam: str = "batch",
    clean_weight: float = 0.0,
    order: str = "reconstruct_first",
) -> tuple[Term, ...]:
    """Mixup-R: Mixup of reconstructions r(x) = D(mu(x)).

    `order="mix_first"` is the other reading, r(lambda x_i + (1 - lambda) x_j).
    """
    checks.one_of(("reconstruct_first", "mix_first"), order=order)
    space = reconstructions if order == "reconstruct_first" else reconstructed_mix
    return with_clean(Term(1.0, mix(space, alpha=alpha, lam=lam), ce), clean_weight)


@register("manifold_mixup", paper=True, summary="interpolated hidden activations of a random stage")
def manifold_mixup(
    *,
    alpha: float = 2.0,
    lam: str = "batch",
    stages: tuple[int, ...] = (0, 1, 2),
    loss: str = "ce",
) -> tuple[Term, ...]:
    """Manifold Mixup (Verma et al. 2019); `loss="bce_softmax"` is the loss of their code."""
    checks.one_of(("ce", "bce_softmax"), loss=loss)
    distance = ce if loss == "ce" else bce
    return (Term(1.0, mix_hidden(stages, alpha=alpha, lam=lam), distance),)


@register("at", paper=True, attacks=True, summary="adversarial training with PGD")
def at(*, eps: float = 8 / 255, step_size: float = 2 / 255, steps: int = 10) -> tuple[Term, ...]:
    """Adversarial training (Madry et al. 2018, eq. 2.1): CE on PGD examples only, l-infinity."""
    inner = attack(ce, ball=linf(eps), steps=steps, step_size=step_size, start=uniform_start)
    return (Term(1.0, inner, ce),)


@register(
    "trades", paper=True, attacks=True, summary="clean cross-entropy plus KL to the worst neighbour"
)
def trades(
    *,
    beta: float = 6.0,
    eps: float = 8 / 255,
    step_size: float = 0.007,
    steps: int = 10,
    start_sigma: float = 0.001,
) -> tuple[Term, ...]:
    """TRADES (Zhang et al. 2019, eq. 5): CE(f(x), y) + beta * max KL(f(x) || f(x'))."""
    checks.non_negative(beta=beta, start_sigma=start_sigma)
    start = gaussian_start(start_sigma)
    inner = attack(kl_to_clean, ball=linf(eps), steps=steps, step_size=step_size, start=start)
    return Term(1.0, dirac, ce), Term(beta, inner, kl_to_clean)


@register("iat", paper=True, attacks=True, summary="interpolated adversarial training")
def iat(
    *,
    alpha: float = 1.0,
    lam: str = "batch",
    eps: float = 8 / 255,
    step_size: float = 2 / 255,
    steps: int = 7,
) -> tuple[Term, ...]:
    """Interpolated adversarial training (Lamb et al. 2019): Mixup of clean and of PGD examples."""
    inner = attack(ce, ball=linf(eps), steps=steps, step_size=step_size, start=uniform_start)
    mixing = mix(pixels, alpha=alpha, lam=lam)
    return Term(0.5, mixing, ce), Term(0.5, chain(inner, mixing), ce)


@register(
    "varmixup", paper=True, vae="standard", summary="decoded interpolations of VAE latent means"
)
def varmixup(
    *,
    alpha: float = 1.0,
    lam: str = "batch",
    clean_weight: float = 0.0,
    partners: int = 1,
    then_mixup: bool = False,
    latent_noise: float = 0.0,
) -> tuple[Term, ...]:
    """VarMixup (Mangla et al. 2021): x' = D(lambda mu(x_i) + (1 - lambda) mu(x_j)).

    Beyond the paper: more `partners` with Dirichlet weights; Mixup of the decoded images
    (`then_mixup`), with its own partners and lambda; noise on the latents before decoding
    (`latent_noise`, in standard deviations of the posterior).
    """
    space = noisy_latents(latent_noise)
    vicinity = mix(space, alpha=alpha, lam=lam, partners=partners)
    if then_mixup:
        vicinity = chain(vicinity, mix(pixels, alpha=alpha, lam=lam))
    return with_clean(Term(1.0, vicinity, ce), clean_weight)


@register(
    "adv_varmixup",
    paper=True,
    vae="adversarial",
    summary="VarMixup with an adversarially robust VAE",
)
def adv_varmixup(
    *, alpha: float = 1.0, lam: str = "batch", clean_weight: float = 0.0
) -> tuple[Term, ...]:
    """adv-VarMixup: the same vicinity over a VAE trained against attacks on its encoder."""
    return varmixup(alpha=alpha, lam=lam, clean_weight=clean_weight)
