"""Sweeps and cluster scripts: `launch` in a clone, `varmixup_jax.launch` where it is installed."""
