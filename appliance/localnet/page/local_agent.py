"""An agent without HTTP: calls of the local network's own page."""

from typing import Literal

from appliance.crypto import Request, Verifier
from appliance.ic.envelope import sign_request
from appliance.ic.identity import Identity
from appliance.ic.principal import Principal
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.outcome import Outcome


class LocalAgent:
    """Signs requests and verifies them as the HTTP interface does, so that the page cannot do what an agent cannot."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._verifier = Verifier(replica.authority.root_key)

    async def call(self, identity: Identity, canister_id: Principal, method: str, arg: bytes) -> Outcome:
        """Make a call and wait for its outcome; the replica must be running."""
        request = self._sign(identity, "call", canister_id, method, arg)
        rejection = self._replica.admit(request)
        if rejection is not None:
            return rejection
        call = self._replica.submit(request)
        await call.done.wait()
        if call.outcome is None:
            raise RuntimeError("a call that is done has an outcome")
        return call.outcome

    def query(self, identity: Identity, canister_id: Principal, method: str, arg: bytes) -> Outcome:
        """Make a query."""
        return self._replica.query(self._sign(identity, "query", canister_id, method, arg), "flat")

    def _sign(
        self, identity: Identity, kind: Literal["call", "query"], canister_id: Principal, method: str, arg: bytes
    ) -> Request:
        now_ns = self._replica.clock.now_ns()
        signed = sign_request(identity, kind, now_ns=now_ns, canister_id=canister_id, method_name=method, arg=arg)
        return self._verifier.open_request(signed.body, now_ns=now_ns)
