"""Queries, including those that call queries of other canisters (``canister_composite_query``). They change nothing."""

from collections import deque
from collections.abc import Callable

from appliance.ic.principal import Principal
from appliance.localnet.canisters.calls import OutgoingCall
from appliance.localnet.canisters.canister import QUERY_REPLY_LIMIT, Canister, Environment, Query
from appliance.localnet.canisters.record import CanisterRecord, CanisterRecords
from appliance.localnet.replica.executor import attempt, no_reply
from appliance.localnet.state.outcome import CANISTER_ERROR, DESTINATION_INVALID, Outcome, Rejection, Reply

DEPTH_LIMIT = 6
"""How deep composite queries may call each other, as on the IC."""

CALLS_LIMIT = 500
"""Calls that one query may make in all."""


class QueryRun:
    """One query of a user, at the time ``time_ns``. ``certificate`` makes the data certificate of the canister that the
    query is sent to."""

    def __init__(self, canisters: CanisterRecords, time_ns: int, certificate: Callable[[], bytes]) -> None:
        self._canisters = canisters
        self._certificate = certificate
        self._time_ns = time_ns
        self._calls = 0

    def execute(self, canister_id: Principal, method: str, arg: bytes, caller: Principal, *, depth: int = 0) -> Outcome:
        """Execute a query method and the queries that it calls."""
        record, rejection = self._canisters.get(canister_id), self._canisters.rejection(canister_id)
        if record is None or record.canister is None or rejection is not None:
            return rejection or Rejection(DESTINATION_INVALID, f"Canister {canister_id} not found", "IC0301")
        env = self._environment(record, caller, depth)
        if record.actor is not None:
            query = record.actor.open_query()
            problem = attempt(record, env, lambda: query.start(method, arg, env))
            return self._follow(record, query, env, problem, depth=depth)
        return _execute_simple(record, record.canister, method, arg, env)

    def _follow(
        self, record: CanisterRecord, query: Query, env: Environment, problem: Rejection | None, *, depth: int
    ) -> Outcome:
        """Make the calls of a query and of its callbacks, until it is answered or there are no more."""
        waiting = deque(env.calls if problem is None else ())
        while env.answer is None and waiting:
            call = waiting.popleft()
            outcome = self._call(record, call, depth)
            env = self._environment(record, env.caller, depth)
            problem = self._continue(record, query, call, outcome, env)
            waiting.extend(env.calls if problem is None else ())
        return problem or env.answer or no_reply(record)

    def _call(self, record: CanisterRecord, call: OutgoingCall, depth: int) -> Outcome:
        self._calls += 1
        if depth >= DEPTH_LIMIT or self._calls > CALLS_LIMIT:
            text = f"Error from Canister {record.canister_id}: the query calls too many queries, or too deep"
            return Rejection(CANISTER_ERROR, text, "IC0521")
        return self.execute(call.callee, call.method, call.arg, record.canister_id, depth=depth + 1)

    @staticmethod
    def _continue(
        record: CanisterRecord, query: Query, call: OutgoingCall, outcome: Outcome, env: Environment
    ) -> Rejection | None:
        problem = attempt(record, env, lambda: query.on_response(call, outcome, env))
        closure = call.on_cleanup
        if problem is not None and closure is not None:
            attempt(record, env, lambda: query.clean_up(closure, env))
        return problem

    def _environment(self, record: CanisterRecord, caller: Principal, depth: int) -> Environment:
        env = self._canisters.environment(record, caller, self._time_ns)
        env.reply_limit = QUERY_REPLY_LIMIT
        # A query that another canister calls has no certificate (specification, "Certified data"): it would be that of
        # the first canister.
        env.certificate = self._certificate if depth == 0 else None
        return env


def _execute_simple(record: CanisterRecord, canister: Canister, method: str, arg: bytes, env: Environment) -> Outcome:
    replies: list[bytes] = []
    problem = attempt(record, env, lambda: replies.append(canister.query(method, arg, env)))
    return problem or Reply(replies[0])
