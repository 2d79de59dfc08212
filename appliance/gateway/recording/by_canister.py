"""What is measured of each canister, for charts. Metrics have their own, for a bounded number of labels."""

from collections.abc import Container
from dataclasses import dataclass, field


@dataclass(slots=True)
class HopTotal:
    """Number and total time of the measurements of one hop."""

    count: int = 0
    sum_ns: int = 0

    def observe(self, duration_ns: int, times: int = 1) -> None:
        """Count a duration, ``times`` times. A negative one, as two clocks may disagree, counts as zero."""
        self.count += times
        self.sum_ns += max(0, duration_ns) * times


@dataclass(slots=True)
class CanisterMeasurements:
    """Of one canister, since it is measured. Everything only grows; the names are those of Counters and Latencies."""

    relayed: int = 0
    delivered: int = 0
    failed_relays: int = 0
    failed_polls: int = 0
    refused: int = 0
    """Sockets closed for an error."""
    relay_closes: int = 0
    client_to_gateway: HopTotal = field(default_factory=HopTotal)
    gateway_to_ic: HopTotal = field(default_factory=HopTotal)
    canister_to_polled: HopTotal = field(default_factory=HopTotal)
    polled_to_written: HopTotal = field(default_factory=HopTotal)


class MeasurementsByCanister:
    """Of every canister that has been used by a client that joined it, until ``keep``."""

    def __init__(self) -> None:
        self._canisters: dict[bytes, CanisterMeasurements] = {}

    def __len__(self) -> int:
        return len(self._canisters)

    def of(self, canister_id: bytes) -> CanisterMeasurements:
        """Those of a canister, from now on if it had none. For canisters that are served only: others would let
        clients grow this.
        """
        found = self._canisters.get(canister_id)
        if found is None:
            found = self._canisters[canister_id] = CanisterMeasurements()
        return found

    def keep(self, used: Container[bytes]) -> None:
        """Forget all canisters but these: with unlisted canisters allowed, clients name ever new ones."""
        self._canisters = {canister: found for canister, found in self._canisters.items() if canister in used}
