"""The draws behind Beta and Dirichlet weights against SciPy's distribution."""

import jax
import numpy as np
import pytest
from scipy import stats

from varmixup_jax.vicinal.augmix import draw_amounts
from varmixup_jax.vicinal.gamma import log_gamma
from varmixup_jax.vicinal.mixing import draw_lam

COUNT = 20_000


def fits(sample, distribution):
    """Kolmogorov-Smirnov; the truth fails once in 10,000 seeds."""
    return stats.kstest(np.asarray(sample, np.float64).ravel(), distribution.cdf).pvalue > 1e-4


@pytest.mark.parametrize("alpha", [0.3, 2, 16.0, 17.0])
def test_log_gamma_is_the_logarithm_of_gamma(alpha, key):
    draws = log_gamma(key, alpha, (COUNT // 4, 4))
    assert (draws.shape, draws.dtype) == ((COUNT // 4, 4), np.float32)
    assert fits(np.exp(draws), stats.gamma(alpha))
    for near in (1 / 1.15, 1.15):
        assert not fits(np.exp(draws), stats.gamma(near * alpha))
    pairs = np.corrcoef(np.asarray(draws).T)[np.triu_indices(4, 1)]
    assert np.abs(pairs).max() < 5 / np.sqrt(COUNT // 4)  # independent


@pytest.mark.parametrize(("alpha", "held"), [(0.3, 1), (1.0, 1), (2.0, 1), (1.0, 3)])
def test_lam_is_beta(alpha, held, key):
    lam = draw_lam(key, COUNT, alpha, "example", held)
    assert fits(lam, stats.beta(held * alpha, alpha))
    for near in (1 / 1.15, 1.15):
        assert not fits(lam, stats.beta(near * held * alpha, alpha))


@pytest.mark.parametrize(("alpha", "loops"), [(1.0, False), (2.0, False), (0.4, True)])
def test_whole_concentrations_draw_without_rejection(alpha, loops, key):
    for draw in (lambda key: draw_lam(key, 4, alpha), lambda key: draw_amounts(key, 4, 3, alpha)):
        assert ("random_gamma" in str(jax.make_jaxpr(draw)(key))) == loops
