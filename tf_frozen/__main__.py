"""Makes `python -m tf_frozen` do what `tf-frozen` does."""

import sys

from tf_frozen.cli import main

sys.exit(main())
