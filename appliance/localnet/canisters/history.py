"""The last changes of a canister, as ``canister_info`` tells them."""

from collections import deque
from typing import Any, cast

from appliance.ic.principal import Principal
from appliance.localnet.canisters.management_types import CHANGES

KEPT = 20


class History:
    """Counts all changes and keeps the last ones."""

    def __init__(self) -> None:
        self.total = 0
        self._changes: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def add(
        self, details: dict[str, object], who: Principal, *, is_user: bool, time_ns: int, canister_version: int
    ) -> None:
        """Somebody changed something."""
        user, canister = {"from_user": {"user_id": who}}, {"from_canister": {"canister_id": who}}
        self.total += 1
        self._changes.append(
            {
                "timestamp_nanos": time_ns,
                "canister_version": canister_version,
                "origin": user if is_user else canister,
                "details": details,
            }
        )

    def recent(self, wanted: int) -> list[dict[str, Any]]:
        """The last changes, the oldest first."""
        return list(self._changes)[max(0, len(self._changes) - wanted) :]

    def encode(self) -> bytes:
        """The kept changes, to be kept longer."""
        return CHANGES.encode(list(self._changes))

    @staticmethod
    def decode(data: bytes, total: int) -> "History":
        """What was kept. Raises CandidError."""
        history = History()
        history.total = total
        (changes,) = CHANGES.decode(data)
        history._changes.extend(cast("list[dict[str, Any]]", changes))
        return history
