"""Evaluates a scikit-learn model with this package: `python evaluate_sklearn.py`.

A random forest takes flat vectors and returns probabilities: the call says both.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

import varmixup_jax as vj


def main(out: str = "runs/forest", corruptions: str | list[str] = "computed") -> vj.Results:
    """Trains, evaluates and saves; `python -m varmixup_jax.report runs` compares it with other runs."""
    digits = load_digits()
    images = (digits.images[..., None] / 16).astype(np.float32)  # [N, H, W, C] in [0, 1]
    first = 3 * len(images) // 4
    forest = RandomForestClassifier(100, random_state=0)
    forest.fit(images[:first].reshape(first, -1), digits.target[:first])
    results = vj.evaluate(
        lambda batch: forest.predict_proba(batch.reshape(len(batch), -1)),
        images[first:],
        digits.target[first:],
        outputs="probabilities",
        corruptions=corruptions,
        name="forest",
        dataset="digits_quarter",
    )
    results.save(out)
    return results


if __name__ == "__main__":
    print(main())
