"""What a replica answers without changing anything: whether a call is admitted, and queries."""

from collections.abc import Callable
from typing import Protocol

from appliance.crypto import Request
from appliance.ic.principal import MANAGEMENT_CANISTER, Principal
from appliance.localnet.canisters.canister import Actor
from appliance.localnet.canisters.record import CanisterRecord, CanisterRecords
from appliance.localnet.replica.executor import Executor, attempt
from appliance.localnet.replica.queries import QueryRun
from appliance.localnet.state.certification import Ranges
from appliance.localnet.state.outcome import CANISTER_REJECT, DESTINATION_INVALID, Outcome, Rejection


class LeafCertificates(Protocol):
    """The latest certified state, or one version of it."""

    def leaf_certificate(self, path: tuple[bytes, ...], ranges: Ranges) -> bytes:
        """A certificate for one path."""


class View:
    """Canisters and the certified state that belongs to them, at the time ``time_ns()``.

    The management canister answers from the latest state in every view.
    """

    def __init__(
        self, canisters: CanisterRecords, executor: Executor, state: LeafCertificates, time_ns: Callable[[], int]
    ) -> None:
        self._canisters = canisters
        self._executor = executor
        self._state = state
        self._time_ns = time_ns

    def admit(self, request: Request) -> Rejection | None:
        """None where a call may be submitted; otherwise the rejection, which the user gets uncertified.

        The IC checks this in one replica before consensus, so nothing of it is in the state: not even a status.
        """
        target = Principal(request.canister_id)
        if target == MANAGEMENT_CANISTER:
            management = self._executor.management
            return _not_offered(request.method_name) if management is None else management.admit(request)
        record, rejection = self._canisters.get(target), self._canisters.rejection(target)
        if rejection is not None or record is None or record.actor is None:
            return rejection
        return self._inspect(record, record.actor, request)

    def query(self, request: Request, ranges: Ranges) -> Outcome:
        """Execute a verified query; a data certificate has its delegation with these ``ranges``."""
        target = Principal(request.canister_id)
        if target == MANAGEMENT_CANISTER:
            management, method = self._executor.management, request.method_name
            if management is None:
                return _not_offered(method)
            return management.query(method, request.arg, Principal(request.sender))
        path = (b"canister", target, b"certified_data")
        run = QueryRun(self._canisters, self._time_ns(), lambda: self._state.leaf_certificate(path, ranges))
        return run.execute(target, request.method_name, request.arg, Principal(request.sender))

    def _inspect(self, record: CanisterRecord, actor: Actor, request: Request) -> Rejection | None:
        env = self._canisters.environment(record, Principal(request.sender), self._time_ns())
        accepted: list[bool] = []
        problem = attempt(record, env, lambda: accepted.append(actor.inspect(request.method_name, request.arg, env)))
        if problem is not None or accepted[0]:
            return problem
        return Rejection(CANISTER_REJECT, f"Canister {record.canister_id} rejected the message", "IC0406")


def _not_offered(method: str) -> Rejection:
    return Rejection(DESTINATION_INVALID, f"Management canister has no method '{method}'", "IC0302")
