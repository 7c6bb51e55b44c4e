"""Runs the command line as `python -m tf_frozen`."""

import sys

from tf_frozen.cli import main

sys.exit(main())
