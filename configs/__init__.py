"""Recipes: `configs` in a clone, `varmixup_jax.recipes` where it is installed."""
