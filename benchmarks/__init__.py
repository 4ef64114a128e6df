"""Benchmarks of speed and fidelity. The package never imports them.

Each module is a command, `python -m benchmarks.NAME [--out FILE.json]`, run from the repository's
root; `python -m benchmarks.all --out DIR` runs those that `docs/benchmarks.md` shows.
"""
