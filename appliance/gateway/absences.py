"""Canisters that a watched change has removed, and that may be back shortly."""

from collections.abc import Callable, Iterable

from appliance.config.schema import Config
from appliance.config.schema import Drain as Policy
from appliance.errors import CanisterNotServed, CanisterRemoved, CanisterUnlisted, GatewayError
from appliance.gateway.drain import Pacing
from appliance.ic.principal import Principal


class Absences:
    """Which canisters may return, each until ``drain.return_grace`` has passed. ``clock`` is nanoseconds since 1970."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._until_ns: dict[Principal, int] = {}

    def follow(self, old: Config, new: Config, connected: Iterable[Principal] | None) -> None:
        """Note what a new configuration serves no more, of what is listed and of what has clients connected, and forget
        what it serves again. ``connected`` is None for a change that is meant as it is.
        """
        now_ns = self._clock()
        self._until_ns = {
            canister_id: until_ns
            for canister_id, until_ns in self._until_ns.items()
            if until_ns > now_ns and new.canister(canister_id) is None
        }
        if connected is None:
            return
        served = {canister.id for canister in old.canisters} | {each for each in connected if old.canister(each)}
        until_ns = now_ns + round(new.drain.return_grace * 1e9)
        self._until_ns |= {each: until_ns for each in served if new.canister(each) is None}

    def may_return(self, canister_id: Principal) -> bool:
        """Whether a canister that is not served may be back shortly."""
        return self._until_ns.get(canister_id, 0) > self._clock()

    def parting(self, canister_id: Principal, policy: Policy) -> tuple[Callable[[], GatewayError], Pacing]:
        """Why and at what pace the sessions of a canister are closed that is not served any more."""
        may_return, name = self.may_return(canister_id), str(canister_id)
        grace_s = policy.return_grace if may_return else 0.0
        kind = CanisterUnlisted if may_return else CanisterRemoved
        return lambda: kind(name), Pacing(policy.rate, grace_s, grace_s + policy.deadline)

    def error(self, canister_id: Principal) -> CanisterUnlisted | CanisterNotServed:
        """What a client gets that wants to use a canister that is not served."""
        kind = CanisterUnlisted if self.may_return(canister_id) else CanisterNotServed
        return kind(str(canister_id))
