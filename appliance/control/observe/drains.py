"""Progress of drains, for the API and for the stream of events."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from appliance.control.models import DrainProgress
from appliance.gateway.drain import Drain
from appliance.gateway.gateway import Gateway
from appliance.ic.principal import Principal

MAX_ENDED = 1000
"""Canisters whose last drain is remembered."""


class Drains:
    """Publishes the progress of every drain, whichever way it was started, each time that `publish_changes` finds
    some. Remembers how the last one of all clients, and of each canister, has ended.
    """

    def __init__(
        self, gateway: Gateway, publish: Callable[[DrainProgress], None], monotonic: Callable[[], float]
    ) -> None:
        """``monotonic`` is the clock of drains, in seconds."""
        self._gateway = gateway
        self._publish = publish
        self._monotonic = monotonic
        self._published: dict[Drain, tuple[str | None, str, int]] = {}
        self._ended: dict[str | None, Drain] = {}

    def progress(self, canister: Principal | None = None) -> DrainProgress:
        """Progress of the drain of all clients, or of one canister's: of the one that runs, else how the last one
        ended. A drain of all clients that is done runs until it is cancelled, and is none from then on.
        """
        gateway, key = self._gateway, None if canister is None else str(canister)
        drain = gateway.drain if canister is None else gateway.canister_drains.get(canister)
        self._every()
        return self._shown(drain or self._ended.get(key), key)

    def of_canisters(self) -> list[DrainProgress]:
        """Progress of each drain of a canister."""
        return [self._shown(drain, str(canister)) for canister, drain in self._gateway.canister_drains.items()]

    def publish_changes(self) -> None:
        """Publish every drain that has made progress since the last call."""
        for drain, canister in self._every():
            seen = (canister, drain.state, drain.closed)
            if self._published.get(drain) == seen:
                continue
            self._published[drain] = seen
            self._publish(self._shown(drain, canister))

    def _remember(self, drain: Drain, canister: str | None) -> None:
        self._ended.pop(canister, None)
        if drain.state == "cancelled" or (drain.state == "done" and canister is not None):
            self._ended[canister] = drain
            while len(self._ended) > MAX_ENDED:
                del self._ended[next(iter(self._ended))]

    def _every(self) -> list[tuple[Drain, str | None]]:
        """Drains that run, and those whose end is not published yet; all that have ended are remembered."""
        gateway = self._gateway
        running: dict[Drain, str | None] = {drain: str(canister) for canister, drain in gateway.canister_drains.items()}
        found = {drain: canister for drain, (canister, _, _) in self._published.items()} | running
        if gateway.drain is not None:
            found[gateway.drain] = None
        for drain, canister in found.items():
            self._remember(drain, canister)
        for drain in [drain for drain, (_, state, _) in self._published.items() if state in ("done", "cancelled")]:
            if drain is not gateway.drain:
                del self._published[drain], found[drain]
        return list(found.items())

    def _shown(self, drain: Drain | None, canister: str | None) -> DrainProgress:
        name = self._gateway.config.canister_names.get(canister or "")
        if drain is None:
            return DrainProgress(state="none", canister=canister, canister_name=name)
        since_s = self._monotonic() - drain.started_at
        return DrainProgress(
            state=drain.state,
            canister=canister,
            canister_name=name,
            total=drain.total,
            closed=drain.closed,
            left=drain.left,
            started_at=datetime.now(UTC) - timedelta(seconds=since_s),
            eta_s=drain.eta_s,
            rate=drain.pacing.rate,
            deadline_s=drain.pacing.deadline_s,
        )
