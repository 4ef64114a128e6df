"""From run directories to a page, a Markdown table and pictures, without importing JAX.

`write` compares methods over their seeds; `pictures` draws a single run. Every number shown is read
from the runs' files: a report never runs a model. The libraries it needs (pandas, matplotlib, jinja2)
are imported when a report is made.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["pictures", "summary_picture", "update_readme", "write"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.writing"), name)
