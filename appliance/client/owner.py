"""The process that a connection belongs to."""

import os


class Owner:
    """Remembers the process that made it. A process forked from it has the objects of a connection, but neither the
    thread nor the loop that serves them: a call would wait for ever.
    """

    def __init__(self) -> None:
        self._process_id = os.getpid()

    @property
    def is_other_process(self) -> bool:
        """Whether this process was forked from the owner."""
        return os.getpid() != self._process_id

    def check(self) -> None:
        """Raises RuntimeError in any process but the owner."""
        if self.is_other_process:
            raise RuntimeError(f"the connection belongs to process {self._process_id}; after fork, connect again")
