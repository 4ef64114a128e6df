"""Methods beyond the source paper's table: latent style, and consistency over AugMix views.

All but `restyle` ask for the same prediction on a clean image and on views of it: `views` terms
c / views * augmix * JS to clean, plus cross-entropy on the clean batch and, except for AugMix itself,
on another sample. Clean images and views go through the model in one batch, with common BatchNorm
statistics (`joint`), or in separate batches.
"""

from __future__ import annotations

from functools import partial

from varmixup_jax import checks
from varmixup_jax.losses import ce, js_to_clean
from varmixup_jax.methods.paper import varmixup, with_clean
from varmixup_jax.methods.registry import register
from varmixup_jax.types import Term, Vicinity
from varmixup_jax.vicinal.augmix import augmix as augmix_views
from varmixup_jax.vicinal.hidden import mix_hidden, noisy_hidden
from varmixup_jax.vicinal.mixing import chain, dirac, latents, mix, noisy_latents
from varmixup_jax.vicinal.restyle import restyle as restyled_images

MOST_VIEWS = 100


def _consistent(
    vicinity: Vicinity,
    consistency: float,
    views: int,
    joint: bool,
    mixed: Term | None,
    clean_weight: float,
) -> tuple[Term, ...]:
    """(1 - w) * mixed + w * CE on the clean batch + consistency * mean over views of JS to clean."""
    checks.in_range(0.0, 1.0, clean_weight=clean_weight)
    checks.non_negative(consistency=consistency)
    checks.whole(1, views=views)
    checks.in_range(1, MOST_VIEWS, views=views)
    first = () if mixed is None else (mixed._replace(weight=1.0 - clean_weight),)
    view = Term(consistency / views, vicinity, js_to_clean, joint)
    # The clean term stays even where its weight is 0: the views are compared with its logits.
    return (*first, Term(clean_weight, dirac, ce), *(view,) * views)


@register("augmix", summary="clean cross-entropy plus consistency over AugMix views")
def augmix(
    *,
    consistency: float = 12.0,
    views: int = 2,
    severity: float = 3.0,
    alpha: float = 1.0,
    joint: bool = True,
) -> tuple[Term, ...]:
    """AugMix (Hendrycks et al. 2020), with pairwise divergences, not three-way: see `js_to_clean`.

    As in their code, clean images and views share one batch, and thus its BatchNorm statistics,
    unless `joint` is False.
    """
    vicinity = augmix_views(severity=severity, alpha=alpha)
    return _consistent(vicinity, consistency, views, joint, None, 1.0)


def _noise(
    stages: tuple[int, ...], sigma_add: float, sigma_mult: float, input_noise: bool
) -> Vicinity:
    """Noise at one of the stages, the input only if asked for; `dirac` without any noise."""
    checks.non_negative(sigma_add=sigma_add, sigma_mult=sigma_mult)
    noisy_stages = tuple(stage for stage in stages if stage or input_noise)
    if not noisy_stages:
        return dirac
    return noisy_hidden(noisy_stages, additive=sigma_add, multiplicative=sigma_mult)


@register("noisymix", summary="noisy mixing of hidden layers plus consistency over AugMix views")
def noisymix(
    *,
    alpha: float = 1.0,
    lam: str = "batch",
    stages: tuple[int, ...] = (0, 1, 2),
    sigma_add: float = 0.1,
    sigma_mult: float = 0.1,
    input_noise: bool = False,
    clean_weight: float = 0.5,
    consistency: float = 12.0,
    views: int = 2,
    severity: float = 3.0,
    joint: bool = True,
) -> tuple[Term, ...]:
    """A variant of NoisyMix (Erichson, Lim, Utrera, Xu, Cao, Mahoney 2022).

    Mixing and noise at one random stage, consistency over noisy AugMix views. What differs: their
    three views of a batch are all mixed, with the same partners and lambda, and compared after that,
    with noise that grows from view to view; here the views are not mixed and are compared with the
    clean prediction, which has its own cross-entropy term. There is no noise on the input unless
    `input_noise` is set: Gaussian noise is one of the test corruptions.
    """
    mixing = mix_hidden(stages, alpha=alpha, lam=lam)
    noise = _noise(stages, sigma_add, sigma_mult, input_noise)
    mixed = Term(1.0, chain(mixing, noise), ce)
    vicinity = chain(augmix_views(severity=severity), noise)
    return _consistent(vicinity, consistency, views, joint, mixed, clean_weight)


@register("varmixup_augmix", vae="standard", summary="VarMixup plus consistency over AugMix views")
def varmixup_augmix(
    *,
    alpha: float = 1.0,
    lam: str = "batch",
    clean_weight: float = 0.5,
    partners: int = 1,
    then_mixup: bool = False,
    consistency: float = 12.0,
    views: int = 2,
    severity: float = 3.0,
    joint: bool = True,
    decoded_views: bool = False,
    latent_noise: float = 0.0,
) -> tuple[Term, ...]:
    """Cross-entropy on decoded mixtures and on clean images, and consistency over AugMix views.

    With `decoded_views` these are views of the reconstructions, not of the images.
    """
    mixed = varmixup(
        alpha=alpha,
        lam=lam,
        partners=partners,
        then_mixup=then_mixup,
        latent_noise=latent_noise,
    )[0]
    vicinity = augmix_views(severity=severity)
    if decoded_views:
        vicinity = chain(mix(latents, alpha=0.0), vicinity)
    return _consistent(vicinity, consistency, views, joint, mixed, clean_weight)


@register(
    "varmixup_noisymix",
    vae="standard",
    summary="VarMixup and consistency over AugMix views, with noise in hidden layers",
)
def varmixup_noisymix(
    *,
    alpha: float = 1.0,
    lam: str = "batch",
    clean_weight: float = 0.5,
    stages: tuple[int, ...] = (1, 2),
    sigma_add: float = 0.1,
    sigma_mult: float = 0.1,
    consistency: float = 12.0,
    views: int = 2,
    severity: float = 3.0,
    joint: bool = True,
    latent_noise: float = 0.0,
) -> tuple[Term, ...]:
    """VarMixup + AugMix with NoisyMix's noise: on decoded mixtures and on views, not on clean images.

    Stage 0, the input, gets noise only if `stages` has it: Gaussian noise is a test corruption.
    """
    noise = _noise(stages, sigma_add, sigma_mult, input_noise=True)
    decoded = mix(noisy_latents(latent_noise), alpha=alpha, lam=lam)
    mixed = Term(1.0, chain(decoded, noise), ce)
    vicinity = chain(augmix_views(severity=severity), noise)
    return _consistent(vicinity, consistency, views, joint, mixed, clean_weight)


@register("restyle", vae="standard", summary="latents decoded with the statistics of others")
def restyle(
    *,
    strength: float = 1.0,
    amount: str = "uniform",
    groups: int = 1,
    styles: int = 1,
    alpha: float = 0.0,
    lam: str = "batch",
    clean_weight: float = 0.5,
    latent_noise: float = 0.0,
) -> tuple[Term, ...]:
    """Cross-entropy on images decoded in the latent style of others, and on clean images."""
    vicinity = restyled_images(
        strength=strength,
        amount=amount,
        groups=groups,
        styles=styles,
        alpha=alpha,
        lam=lam,
        latent_noise=latent_noise,
    )
    return with_clean(Term(1.0, vicinity, ce), clean_weight)


@register(
    "restyle_augmix", vae="standard", summary="latent style plus consistency over AugMix views"
)
def restyle_augmix(
    *,
    strength: float = 1.0,
    amount: str = "uniform",
    groups: int = 1,
    styles: int = 1,
    alpha: float = 0.0,
    lam: str = "batch",
    clean_weight: float = 0.5,
    consistency: float = 12.0,
    views: int = 2,
    severity: float = 3.0,
    joint: bool = True,
    decoded_views: bool = False,
    latent_noise: float = 0.0,
) -> tuple[Term, ...]:
    """Cross-entropy on restyled and on clean images, and consistency over AugMix views.

    With `decoded_views` these are views of images in another draw of the style, neither mixed nor
    with `latent_noise`.
    """
    style = partial(restyled_images, strength=strength, amount=amount, groups=groups, styles=styles)
    styled = Term(1.0, style(alpha=alpha, lam=lam, latent_noise=latent_noise), ce)
    vicinity = augmix_views(severity=severity)
    if decoded_views:
        vicinity = chain(style(), vicinity)
    return _consistent(vicinity, consistency, views, joint, styled, clean_weight)
