"""From a configuration to runs, result rows and a page; nothing below this sees a configuration."""

from varmixup_jax.runs.sweep import run

__all__ = ["run"]
