"""`python -m tests.cluster`: see README.md in this folder."""

import sys

from tests.cluster.cli import main

sys.exit(main())
