"""`python -m varmixup_jax` is the command `varmixup`."""

import sys

from varmixup_jax.cli import main

sys.exit(main())
