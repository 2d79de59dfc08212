"""How far drains are, for those who ask and for those who listen."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from appliance.control.models import DrainProgress
from appliance.gateway.drain import Drain
from appliance.gateway.gateway import Gateway
from appliance.ic.principal import Principal


class Drains:
    """Tells of every drain, whoever started it, whenever ``look`` sees that it went on."""

    def __init__(self, gateway: Gateway, tell: Callable[[DrainProgress], None], monotonic: Callable[[], float]) -> None:
        """``monotonic`` is the clock of drains, in seconds."""
        self._gateway = gateway
        self._tell = tell
        self._monotonic = monotonic
        self._told: dict[Drain, tuple[str | None, str, int]] = {}

    def progress(self, canister: Principal | None = None) -> DrainProgress:
        """How far the drain of all clients, or of one canister's, is."""
        gateway = self._gateway
        drain = gateway.drain if canister is None else gateway.canister_drains.get(canister)
        return self._shown(drain, None if canister is None else str(canister))

    def of_canisters(self) -> list[DrainProgress]:
        """How far each drain of a canister is."""
        return [self._shown(drain, str(canister)) for canister, drain in self._gateway.canister_drains.items()]

    def look(self) -> None:
        """Tell what is new since the last look."""
        for drain, canister in self._every():
            seen = (canister, drain.state, drain.closed)
            if self._told.get(drain) == seen:
                continue
            self._told[drain] = seen
            self._tell(self._shown(drain, canister))

    def _every(self) -> list[tuple[Drain, str | None]]:
        """Those that are on, and those whose end was not told yet."""
        gateway = self._gateway
        running: dict[Drain, str | None] = {drain: str(canister) for canister, drain in gateway.canister_drains.items()}
        found = {drain: canister for drain, (canister, _, _) in self._told.items()} | running
        if gateway.drain is not None:
            found[gateway.drain] = None
        for drain in [drain for drain, (_, state, _) in self._told.items() if state in ("done", "cancelled")]:
            if drain is not gateway.drain:
                del self._told[drain], found[drain]
        return list(found.items())

    def _shown(self, drain: Drain | None, canister: str | None) -> DrainProgress:
        if drain is None:
            return DrainProgress(state="none", canister=canister)
        since_s = self._monotonic() - drain.started_at
        return DrainProgress(
            state=drain.state,
            canister=canister,
            total=drain.total,
            closed=drain.closed,
            left=drain.left,
            started_at=datetime.now(UTC) - timedelta(seconds=since_s),
            eta_s=drain.eta_s,
            rate=drain.pacing.rate,
            deadline_s=drain.pacing.deadline_s,
        )
