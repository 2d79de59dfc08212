"""Attacks a gateway for many minutes: ``python -m tests.hostile``."""

import sys

from tests.hostile.soak import main

sys.exit(main())
