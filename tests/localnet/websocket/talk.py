"""Clients of an example canister by name, with values instead of bytes."""

from typing import Any

from appliance.ic.principal import Principal
from appliance.localnet.websocket.candid_canister import CandidCanister
from tests.localnet.websocket.conversation import GATEWAY, OK, Ws


class Talk(Ws):
    """Counts the messages of each client, and remembers what each has read."""

    def __init__(self, canister: CandidCanister) -> None:
        super().__init__(canister)
        self._sent: dict[Principal, int] = {}
        self._nonce: dict[Principal, int] = {}

    def enter(self, who: Principal) -> None:
        """Open a connection, and close the one before."""
        self._sent[who] = 0
        assert self.open(who, nonce=self._nonce_of(who, 1)) == OK

    def say(self, who: Principal, value: object) -> Any:
        """A message of a client."""
        self._sent[who] += 1
        content = self.canister._value_type.encode(value)
        return self.message(who, self._sent[who], content, nonce=self._nonce[who])

    def heard(self, who: Principal) -> list[Any]:
        """The values that a client's connection got."""
        return [
            self.canister._value_type.decode(message.content)[0]
            for message in self.received(GATEWAY)
            if message.client_key == who + self._nonce[who].to_bytes(8, "big") and not message.is_service_message
        ]

    def is_closed(self, who: Principal) -> bool:
        """Whether the canister has closed the client's connection, and said so."""
        last = [m for m in self.received(GATEWAY) if m.client_key[:-8] == who][-1]
        return last.is_service_message and "CloseMessage" in self.service(last)

    def _nonce_of(self, who: Principal, step: int) -> int:
        self._nonce[who] = self._nonce.get(who, 0) + step
        return self._nonce[who]
