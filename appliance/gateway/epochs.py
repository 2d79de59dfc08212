"""What is bound to one principal of the gateway, so that its key can be rotated while sessions stay.

A canister keeps a queue for each gateway, which that gateway alone may poll, and takes ``ws_close`` only from the one
that the client named when it opened. So a session ends with the principal that it began with. A rotation begins a new
epoch, for the sessions from then on; an earlier epoch ends with the last of its sessions and close calls.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import structlog

from appliance.config.schema import Config
from appliance.crypto import Verifier
from appliance.gateway.budgeted_calls import BudgetedCalls
from appliance.gateway.calls.budget import CallBudget
from appliance.gateway.hub import Hub, Member
from appliance.gateway.ic import Ic
from appliance.gateway.journal.journal import Journal, NoJournal
from appliance.gateway.journal.late_close_calls import LateCloseCalls
from appliance.gateway.nodes import Nodes
from appliance.gateway.polling.budget import PollBudget
from appliance.gateway.polling.poller import Poller
from appliance.gateway.polling.pollers import Pollers
from appliance.gateway.polling.replies import Replies
from appliance.gateway.polling.schedule import WakeUp
from appliance.gateway.recording.event_bus import EventBus
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.recording.recorder import Recorder
from appliance.gateway.tasks import Tasks
from appliance.ic.principal import Principal
from appliance.ic.queries import QuerySignatures
from appliance.protocol.envelopes import Envelopes
from appliance.protocol.session import SessionContext

_log = structlog.get_logger(__name__)


class Epoch:
    """The calls, polls, close calls and journal of one principal. ``context`` is that of its sessions."""

    def __init__(self, principal: Principal, ic: Ic, journal: Journal | NoJournal, epochs: "Epochs") -> None:
        """``principal`` is the one that ``ic`` signs with."""
        self.principal = principal
        self.journal = journal
        self.sessions = 0
        """Sessions that have not been left, and clients whose close call is not done."""
        self._epochs = epochs
        self.context = SessionContext(principal, epochs.envelopes)
        self.calls = BudgetedCalls(ic, epochs.budget, epochs.clock)
        self.replies = Replies(
            epochs.envelopes.verifier,
            epochs.config.verification.certificates,
            epochs.counters,
            gateway=principal,
            signatures=signatures_of(epochs.config),
            clock=epochs.clock,
            recorder=epochs.recorder,
        )
        self.pollers = Pollers(
            source=ic,
            replies=self.replies,
            members=self.members,
            tasks=epochs.tasks,
            counters=epochs.counters,
            recorder=epochs.recorder,
            event_bus=epochs.event_bus,
            clock=epochs.clock,
            wake_up=epochs.wake_up,
            budget=epochs.poll_budget,
            share=partial(epochs.nodes.share, principal),
        )
        self.late_close_calls = LateCloseCalls(
            self.calls.close,
            journal,
            gateway=principal,
            tasks=epochs.tasks,
            counters=epochs.counters,
            ended=lambda: epochs.end_unused(self),
            nodes=epochs.nodes,
        )

    def members(self, canister_id: bytes) -> Mapping[bytes, Member]:
        """The members of a canister whose sessions began in this epoch."""
        members = self._epochs.hub.members(canister_id)
        if len(self._epochs) == 1:
            return members
        return {key: member for key, member in members.items() if member.gateway == self.principal}

    def forgotten(self, canister_id: Principal, client_keys: Sequence[bytes]) -> None:
        """The canister has forgotten these clients."""
        if (poller := self.pollers.get(canister_id)) is not None:
            poller.forgotten(client_keys)

    def take_over(self) -> None:
        """Begin with what earlier processes have left in the journal."""
        for opening in self.journal.used:
            self._epochs.hub.remember(opening.request_id, opening.expires_ns)
        self.late_close_calls.start(self.journal.left_behind)

    def follow(self, config: Config, verifier: Verifier) -> None:
        """Follow another configuration from now on."""
        self.replies.follow(verifier, config.verification.certificates, signatures_of(config))

    def stop(self) -> None:
        """Begin no more polls and late close calls."""
        self.late_close_calls.stop()
        self.pollers.stop_all()  # their tasks never end by themselves: ``Tasks.finish`` would wait for them


class Epochs:
    """The epoch of new sessions, ``current``, and the earlier ones that still have sessions, the latest last."""

    def __init__(
        self,
        config: Config,
        *,
        envelopes: Envelopes,
        hub: Hub,
        tasks: Tasks,
        counters: Counters,
        recorder: Recorder,
        event_bus: EventBus,
        budget: CallBudget,
        clock: Callable[[], int],
        wake_up: Callable[[], WakeUp],
        nodes: Nodes,
    ) -> None:
        """``clock`` is ns since 1970; ``wake_up`` makes the wake-up of a poller. What is given here is shared by all
        epochs. `begin` has to follow.
        """
        self.config = config
        self.envelopes = envelopes
        self.hub = hub
        self.tasks = tasks
        self.counters = counters
        self.recorder = recorder
        self.event_bus = event_bus
        self.budget = budget
        self.clock = clock
        self.wake_up = wake_up
        self.nodes = nodes
        self.poll_budget = PollBudget(config.polling.budget)
        self.current: Epoch
        self._epochs: dict[Principal, Epoch] = {}

    def __iter__(self) -> Iterator[Epoch]:
        return iter(list(self._epochs.values()))

    def __len__(self) -> int:
        return len(self._epochs)

    def begin(self, principal: Principal, ic: Ic, journal: Journal | NoJournal) -> Epoch:
        """Begin the epoch of a principal that has none, and make it the current one."""
        earlier = list(self)
        self.current = self._epochs[principal] = Epoch(principal, ic, journal, self)
        for epoch in earlier:
            self.end_unused(epoch)
        return self.current

    def resume(self, principal: Principal) -> bool:
        """Make the epoch of a principal the current one again; False if it has none."""
        if (epoch := self._epochs.get(principal)) is None:
            return False
        before, self.current = self.current, epoch
        self.end_unused(before)
        return True

    def of(self, principal: Principal) -> Epoch:
        """The epoch of a session, by the principal that it began with."""
        return self._epochs[principal]

    def release(self, epoch: Epoch) -> None:
        """One session fewer."""
        epoch.sessions -= 1
        self.end_unused(epoch)

    @property
    def pending_late_close_calls(self) -> int:
        """Clients that earlier processes left behind and whose close call is not done."""
        return sum(epoch.late_close_calls.pending for epoch in self)

    @property
    def pollers(self) -> Mapping[Principal, Poller]:
        """The running pollers by canister, the latest where several epochs poll it."""
        if len(self._epochs) == 1:
            return self.current.pollers
        return {canister_id: poller for epoch in [*self, self.current] for canister_id, poller in epoch.pollers.items()}

    def follow(self, config: Config, verifier: Verifier) -> None:
        """Follow another configuration from now on."""
        self.config = config
        self.envelopes.verifier = verifier
        self.envelopes.mode = config.verification.envelopes
        self.poll_budget.follow(config.polling.budget)
        for epoch in self:
            epoch.follow(config, verifier)

    def end_unused(self, epoch: Epoch) -> None:
        """End an earlier epoch that has no sessions and no close calls any more; does nothing to others."""
        if epoch is self.current or epoch.sessions or epoch.late_close_calls.pending:
            return
        if self._epochs.get(epoch.principal) is not epoch:
            return  # the last session has ended it already
        del self._epochs[epoch.principal]
        epoch.stop()
        self.tasks.start(epoch.journal.close())
        _log.info("the last session of an earlier identity has ended", principal=str(epoch.principal))


def signatures_of(config: Config) -> QuerySignatures:
    """How the signatures of nodes on replies to polls are verified."""
    return QuerySignatures(config.verification.queries, round(config.verification.max_query_age * 1e9))
