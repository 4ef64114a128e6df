"""Examples: `examples` in a clone, `varmixup_jax.examples` where it is installed."""
