"""What is usual in a set: rows are labelled by what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def usual(values: Sequence[str]) -> str | None:
    """The value that occurs more often than every other; None where two share that or none is.

    >>> usual(["a", "b", "a"]), usual(["a", "b"])
    ('a', None)
    """
    counts = Counter(values).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]
