"""``ws_close`` calls for the clients that an earlier process left behind, or that left while nobody could say whether
another node of the cluster has them.

A canister that keeps one client of a principal (v1, and some of v2) takes the close call of an old session for the end
of the new one, and a key of v0 is the same in every session. So no close call may reach a canister after an opening of
the same client: whoever comes back waits until its close call is done, which goes first then.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

import structlog

from appliance.errors import GatewayError
from appliance.gateway.journal.entry import Entry, group_of
from appliance.gateway.journal.journal import Journal, NoJournal
from appliance.gateway.nodes import Nodes
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.tasks import Tasks
from appliance.ic.principal import Principal
from appliance.protocol.events import Join

_log = structlog.get_logger(__name__)

AT_ONCE = 512
"""Groups that are worked off at a time. Their calls wait for their turn in the budget of calls as all others."""
ATTEMPTS = 3
RETRY_S = 30.0
"""Of a close call that the IC does not answer, each attempt for four minutes. After the last, the client stays in the
journal for the next start."""


class _Group:
    """The clients of one principal at one canister, or of one key of v0: in the order in which they opened."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.task: asyncio.Task[None] | None = None
        self.is_awaited = asyncio.Event()


class LateCloseCalls:
    """The close calls of the clients that an earlier process left behind, which are due or under way."""

    def __init__(
        self,
        send: Callable[[bytes, bytes, bytes], Awaitable[object]],
        journal: Journal | NoJournal,
        *,
        gateway: Principal,
        tasks: Tasks,
        counters: Counters,
        ended: Callable[[], None],
        nodes: Nodes,
    ) -> None:
        """``send`` makes a close call when there is room for it, from canister, client key and argument. It raises
        GatewayError. ``ended`` is called when none is pending any more. ``gateway`` is the principal that it signs
        with.
        """
        self._send = send
        self._gateway = gateway
        self._journal = journal
        self._tasks = tasks
        self._counters = counters
        self._ended = ended
        self._nodes = nodes
        self._groups: OrderedDict[tuple[bytes, bytes], _Group] = OrderedDict()
        self._waiting: OrderedDict[tuple[bytes, bytes], _Group] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()
        self._aside: set[asyncio.Task[None]] = set()
        self._is_stopped = False

    @property
    def pending(self) -> int:
        """Clients whose close call is not done, nor given up."""
        return sum(len(group.entries) for group in self._groups.values())

    def start(self, entries: Iterable[Entry]) -> None:
        """Begin with these clients too, the first to open first."""
        if self._is_stopped:
            return
        added = 0
        for entry in entries:
            group = self._groups.get(entry.group)
            if group is None or (group.task is not None and group.task.done()):  # done, and about to be forgotten
                group = self._groups[entry.group] = self._waiting[entry.group] = _Group()
            if entry in group.entries:  # whoever speaks for another node begins again, as long as the engine has it
                continue
            group.entries.append(entry)
            added += 1
        if added > 1:
            _log.info("reporting clients of an earlier process, or of another node", clients=self.pending)
        self._start_next()

    async def wait_for(self, join: Join) -> None:
        """Return when no close call for an earlier session of this client will reach its canister any more."""
        place = group_of(join)
        if (group := self._groups.get(place)) is None:
            return
        group.is_awaited.set()
        if group.task is None:
            del self._waiting[place]
            self._start(place, group)
        if group.task is not None:
            await asyncio.wait({group.task})

    def stop(self) -> None:
        """Begin no more and end those that run: the clients stay in the journal for the next process."""
        self._is_stopped = True
        for place in self._waiting:
            del self._groups[place]
        self._waiting.clear()
        for task in self._running | self._aside:
            task.cancel()

    def _start_next(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            self._start(*self._waiting.popitem(last=False))

    def _start(self, place: tuple[bytes, bytes], group: _Group) -> None:
        group.task = task = self._tasks.start(self._close(group))
        self._running.add(task)
        task.add_done_callback(lambda task: self._done(place, group, task))

    def _done(self, place: tuple[bytes, bytes], group: _Group, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if self._groups.get(place) is group:
            del self._groups[place]
        self._start_next()
        if not self._groups:
            self._ended()

    async def _close(self, group: _Group) -> None:
        while group.entries and await self._attempt(group):
            del group.entries[0]

    async def _attempt(self, group: _Group) -> bool:
        """Make the close call of the first entry, several times if need be. Returns whether the canister answered it:
        also a refusal says that it does not know the client.
        """
        entry = group.entries[0]
        known = entry.known(self._gateway)
        while (holding := await self._nodes.may_tell(known)) == "unknown":
            if group.is_awaited.is_set():
                return False  # the client is back here, and its next close call says all that this one would have
            await self._wait_aside(group)
        if holding == "taken":
            self._remove(entry)
            return True
        is_told = False
        try:
            is_told = await self._call(group, entry)
            return is_told
        finally:
            self._nodes.have_told(known, is_told=is_told)

    def _remove(self, entry: Entry) -> None:
        if not entry.node:  # else the entry of this key in the journal is that of a client of this node
            self._journal.remove(entry.canister_id, entry.client_key)

    async def _call(self, group: _Group, entry: Entry) -> bool:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._send(entry.canister_id, entry.client_key, entry.close_arg)
            except GatewayError as error:
                self._counters.failed_farewells[error.reason] += 1
                _log.warning("a late ws_close failed", client=entry.client, attempt=attempt, cause=str(error))
                if group.is_awaited.is_set() or attempt == ATTEMPTS:
                    break
                await self._pause(group)
            else:
                self._remove(entry)
                self._counters.farewells += 1
                return True
        return False

    async def _wait_aside(self, group: _Group) -> None:
        """Pause in no place of ``AT_ONCE``: nobody may know for an hour whether a node that was killed is alive."""
        own = {task for task in (group.task,) if task is not None}
        self._running -= own
        self._aside |= own
        self._start_next()
        try:
            await self._pause(group)
        finally:
            self._aside -= own
            self._running |= own

    @staticmethod
    async def _pause(group: _Group) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await group.is_awaited.wait()
