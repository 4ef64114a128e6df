"""Local linearity of the loss surface around an image."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from varmixup_jax import checks
from varmixup_jax.attacks.pgd import linf, pgd
from varmixup_jax.attacks.search import Loss, frozen, value_and_slope
from varmixup_jax.types import Array, Key


def local_linearity_error(
    loss: Loss,
    image: Array,
    *,
    key: Key,
    eps: float | Array,
    steps: int = 50,
    restarts: int = 3,
    relative_step: float = 0.1,
) -> Array:
    r"""How far the loss departs from its tangent within an l-infinity ball, per example.

    .. math::
        \gamma(\epsilon, x) = \max_{\lVert\delta\rVert_\infty \le \epsilon}
        |\ell(x + \delta) - \ell(x) - \delta^\top \nabla \ell(x)|

    with the gradient constant and the maximum found by projected gradient ascent on delta from uniform
    starts. Per example the best iterate of all starts is kept, so the result is a lower bound that
    grows with the budget. x + delta is not clipped to [0, 1]: the measure is of the function, not of
    images.

    Args:
      loss: `image -> [B]`, in evaluation mode, e.g. cross-entropy of each image's label.
      image: floating `[B, H, W, C]`.
      key: for the starting points.
      eps: radius in pixel units, >= 0; may be traced, so one compilation serves several radii.
      steps: gradient steps of a start, >= 0.
      restarts: independent starts, >= 1.
      relative_step: step size as a fraction of `eps`, > 0. The published text leaves it open.

    Returns:
      float32 `[B]`, >= 0, in the unit of the loss; -inf where the loss is NaN throughout.

    Raises:
      TypeError: an integer image. ValueError: an argument out of range.

    References:
      Qin et al., *Adversarial Robustness through Local Linearization*, NeurIPS 2019, section 4.

    >>> import jax
    >>> square = lambda image: jnp.sum(image**2, axis=(1, 2, 3))
    >>> image = jnp.zeros((1, 1, 1, 2))
    >>> print(local_linearity_error(square, image, key=jax.random.key(0), eps=0.5))
    [0.5]
    """
    checks.float_image(image=image)
    checks.positive(relative_step=relative_step)
    origin = lax.stop_gradient(image).astype(jnp.float32)
    constant = frozen(loss, origin)
    value, slope = lax.stop_gradient(value_and_slope(constant, origin))

    def departure(moved: Array) -> Array:
        tangent = value + jnp.sum((moved - origin) * slope, axis=(1, 2, 3))
        return jnp.abs(constant(moved) - tangent)

    return pgd(
        key,
        origin,
        departure,
        ball=linf(eps),
        steps=steps,
        step_size=relative_step * eps,
        restarts=restarts,
        keep="best",
        bounds=None,
    ).loss
