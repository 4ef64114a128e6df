"""From run directories to a page, a Markdown table and pictures, without touching JAX.

`write` puts methods side by side over their seeds; `pictures` draws a single run. Every number
shown is read from the runs' files: a report never runs a model. What a report is made of (pandas,
matplotlib, jinja2) is imported when one is made.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["pictures", "summary_picture", "update_readme", "write"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.writing"), name)
