"""Speed and fidelity, measured side by side. The package never imports this.

Each module is a command, `python -m benchmarks.NAME [--out FILE.json]`, run from the repository's
root; `python -m benchmarks.all --out DIR` runs those that `docs/benchmarks.md` shows.
"""
