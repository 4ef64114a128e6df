"""The command line.

    python -m varmixup_jax.main --config=configs/digits.py[:METHODS] [--workdir=DIR] [--config.x.y=z]

Exit codes: 0 done; 2 the request cannot be carried out (one line says why; nothing was written);
3 a loss stopped being finite (the last good checkpoint is kept).
"""

from __future__ import annotations

import sys

from absl import flags
from ml_collections import config_flags

from varmixup_jax import experiment
from varmixup_jax.compilation_cache import enable
from varmixup_jax.config import unknown_field
from varmixup_jax.experiment.sweep import Diverged

CONFIG = config_flags.DEFINE_config_file("config", None, "A recipe, configs/NAME.py[:METHODS].")
WORKDIR = flags.DEFINE_string("workdir", None, "Where the runs live; default runs/DATA-METHODS.")
DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of an error.")


def main() -> int:
    """Parses the command line, runs, and turns refusals into one line and an exit code."""
    try:
        rest = flags.FLAGS(sys.argv)[1:]
        if rest:
            raise ValueError(f"argument {rest[0]!r}: not understood, flags begin with --")
        config = CONFIG.value
        if config is None:
            raise ValueError("--config = None: must name a recipe, e.g. configs/digits.py")
        name = config.data.source.replace(":", "-").replace("/", "-")
        workdir = WORKDIR.value or f"runs/{name}-{config.method.replace(',', '-')}"
        enable()
        experiment.run(config, workdir)
    except Diverged as error:
        return _refuse(error, 3)
    except (flags.Error, LookupError, AttributeError) as error:
        return _refuse(unknown_field(sys.argv) or error, 2)
    except (ValueError, TypeError, OSError) as error:
        return _refuse(error, 2)
    return 0


def _refuse(error: Exception, code: int) -> int:
    if DEBUG.present and DEBUG.value:
        raise error
    lines = [line for line in str(error).splitlines() if line.strip()]
    # A recipe that fails to load is quoted with its traceback: its last line says why.
    text = lines[-1] if "Traceback" in str(error) else " ".join(lines)
    print(f"error: {text.strip() or type(error).__name__}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
