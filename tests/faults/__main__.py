"""Runs schedules: ``python -m tests.faults [NAME …]``."""

import sys

from tests.faults.soak import main

# Under this condition, because the processes that run the schedules import this module, too.
if __name__ == "__main__":
    sys.exit(main())
