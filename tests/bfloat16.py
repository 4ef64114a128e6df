"""What a gradient of our own in bfloat16 is held to: JAX's."""

import numpy as np


def assert_as_near(ours, derived, exact):
    """Our value and gradients are as near to the truth as those that JAX derives, of their size."""
    mine, theirs = (
        [np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)) for a, b in zip(found, exact, strict=True)]
        for found in (ours, derived)
    )
    assert min(mine[:2]) > 1e-4  # it does compute in bfloat16
    np.testing.assert_array_less(mine, 1.1 * np.array(theirs) + 1e-6)
