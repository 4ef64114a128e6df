"""From a configuration to runs, rows and a page: the last place that sees a configuration."""

from varmixup_jax.runs.sweep import run

__all__ = ["run"]
