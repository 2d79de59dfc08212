"""The kinds of faults, each a function with a name; importing this package registers all of them in ``FAULTS``."""

from tests.faults.kinds import bodies, certificates, queue, statuses, transport
from tests.faults.kinds.registry import FAULTS, Fault

__all__ = ["FAULTS", "Fault", "bodies", "certificates", "queue", "statuses", "transport"]
