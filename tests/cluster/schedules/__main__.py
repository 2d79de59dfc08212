"""Runs schedules: ``python -m tests.cluster.schedules [NAME …]``."""

import sys

from tests.cluster.schedules.soak import main

if __name__ == "__main__":
    sys.exit(main())
