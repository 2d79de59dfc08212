"""Whether the file differs from the configuration that runs."""

from collections.abc import Sequence
from functools import partial

from appliance.config.history import hash_of
from appliance.config.load import Loaded
from appliance.config.plan import Plan, PlannedChange, diff
from appliance.config.source import Source
from appliance.control.reload.refusals import not_pending
from appliance.errors import ConfigError
from appliance.threads import FILES

SHOWN_WITHIN_S = 1.0
"""Time for reading the file where its state is only shown."""


class FileDifference:
    """Compares by meaning: `pause` and then `resume` leave another text that says the same.

    Parsing a large file takes a while, and the status is read every few seconds: so the latest result is kept.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._last: tuple[str | None, Loaded, bool] | None = None

    async def shown(self, running: Loaded, pending: Sequence[PlannedChange]) -> bool:
        """As `differs`, in a thread; also where the file cannot be read within ``SHOWN_WITHIN_S``."""
        # One look at a time for each configuration: what is found of the one before is no answer about this one.
        key = (self, id(running))
        try:
            return await FILES.run_once(key, partial(self.differs, running, pending), SHOWN_WITHIN_S)
        except TimeoutError:
            return True  # as for every file that cannot be read

    def differs(self, running: Loaded, pending: Sequence[PlannedChange]) -> bool:
        """Whether a reload of the file would change something; also where the file cannot be read or used. ``pending``
        are changes that wait for a restart, which do not count.
        """
        of_file = self._source.hash()
        if of_file == hash_of(running.text):
            return False
        if self._last is None or self._last[0] != of_file or self._last[1] is not running:
            self._last = (of_file, running, self._is_another(running, pending))
        return self._last[2]

    def _is_another(self, running: Loaded, pending: Sequence[PlannedChange]) -> bool:
        try:
            new = self._source.load()
        except ConfigError:
            return True
        return bool(not_pending(Plan(tuple(diff(running.config, new.config))), pending))
