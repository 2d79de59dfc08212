"""Counters by canister, for a bounded number of labels."""

from collections import Counter
from dataclasses import dataclass, field

from appliance.control.observe.labels import OTHER
from appliance.gateway.gateway import Gateway
from appliance.gateway.polling.poller import Poller
from appliance.ic.principal import Principal


@dataclass(slots=True)
class CanisterCounts:
    """The values of one label. ``polls`` and ``delivered`` only grow while the label exists."""

    polls: int = 0
    delivered: int = 0
    clients: int = 0
    degraded: int = 0
    paused: int = 0
    calls_under_way: int = 0
    calls_waiting: int = 0
    lag_s: float = 0.0


@dataclass(slots=True)
class _Seen:
    """A poller with its counters at the last update."""

    poller: Poller
    since_ns: int
    polls: int = 0
    delivered: int = 0


@dataclass(slots=True)
class _Growth:
    polls: Counter[Principal] = field(default_factory=Counter)
    delivered: Counter[Principal] = field(default_factory=Counter)


class CanisterTable:
    """Adds up the counters of pollers by label, each time that `update` is called.

    A canister keeps its label while it is polled, because a counter that moves between labels would jump; free labels
    go to the canisters with the most clients.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._seen: dict[Principal, _Seen] = {}
        self._shown: dict[str, CanisterCounts] = {}
        self._named: list[Principal] = []

    def update(self, most: int) -> dict[str, CanisterCounts]:
        """The values by label, for at most so many canisters and ``OTHER``."""
        growth = self._growth()
        self._name(most)
        labels = {canister_id: str(canister_id) for canister_id in self._named}
        scheduler = self._gateway.budget.scheduler
        shown = {label: self._kept(label) for label in labels.values()}
        shown[OTHER] = self._kept(OTHER)
        for canister_id in growth.polls.keys() | self._seen.keys():
            self._add(shown[labels.get(canister_id, OTHER)], canister_id, growth)
        for canister, calls in scheduler.under_way_by_canister().items():
            shown[labels.get(Principal(canister), OTHER)].calls_under_way += calls
        for canister, calls in scheduler.waiting_by_canister().items():
            shown[labels.get(Principal(canister), OTHER)].calls_waiting += calls
        self._shown = shown
        return shown

    def _growth(self) -> _Growth:
        """The growth of each poller's counters since the last update, including pollers that ended meanwhile."""
        growth, now_ns = _Growth(), self._gateway.clock()
        for canister_id, poller in self._gateway.pollers.items():
            seen = self._seen.get(canister_id)
            if seen is None or seen.poller is not poller:
                if seen is not None:
                    _grow(growth, canister_id, seen)
                self._seen[canister_id] = seen = _Seen(poller, now_ns)
            _grow(growth, canister_id, seen)
        for canister_id in self._seen.keys() - self._gateway.pollers.keys():
            _grow(growth, canister_id, self._seen.pop(canister_id))
        return growth

    def _name(self, most: int) -> None:
        self._named = [canister_id for canister_id in self._named if canister_id in self._seen][:most]
        if len(self._named) < most:
            rest = self._seen.keys() - set(self._named)
            by_clients = sorted(rest, key=lambda canister_id: (-self._clients(canister_id), canister_id))
            self._named += by_clients[: most - len(self._named)]

    def _kept(self, label: str) -> CanisterCounts:
        before = self._shown.get(label, CanisterCounts())
        return CanisterCounts(before.polls, before.delivered)

    def _add(self, counts: CanisterCounts, canister_id: Principal, growth: _Growth) -> None:
        counts.polls += growth.polls[canister_id]
        counts.delivered += growth.delivered[canister_id]
        if (seen := self._seen.get(canister_id)) is None:
            return
        facts = seen.poller.facts
        counts.clients += self._clients(canister_id)
        counts.degraded += facts.state == "degraded"
        counts.paused += facts.state == "paused"
        lag_ns = self._gateway.clock() - (facts.last_good_ns or seen.since_ns)
        counts.lag_s = max(counts.lag_s, lag_ns / 1e9)

    def _clients(self, canister_id: Principal) -> int:
        return len(self._gateway.hub.members(canister_id))


def _grow(growth: _Growth, canister_id: Principal, seen: _Seen) -> None:
    facts = seen.poller.facts
    growth.polls[canister_id] += facts.polls - seen.polls
    growth.delivered[canister_id] += facts.delivered - seen.delivered
    seen.polls, seen.delivered = facts.polls, facts.delivered
