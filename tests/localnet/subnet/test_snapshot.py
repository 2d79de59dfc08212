"""What is kept of a subnet for replicas that lag behind."""

from appliance.ic.principal import Principal
from appliance.localnet.canisters.canister import Environment
from appliance.localnet.canisters.python_canister import PythonCanister
from appliance.localnet.state.outcome import Rejection, Reply
from tests.localnet.machine import SECOND
from tests.localnet.subnet.fleet import MS, NOTHING, Fleet, Journal


class Watch(PythonCanister):
    """Prints and returns the time of a query."""

    did = "service : {touch : () -> (); time : () -> (nat64) query}"

    def touch(self, env: Environment) -> tuple[()]:
        return ()

    def time(self, env: Environment) -> int:
        env.print(f"it is {env.time_ns}")
        return env.time_ns


def test_a_query_has_the_time_of_the_state_and_prints_into_the_log_of_today() -> None:
    fleet = Fleet(canister=Watch())
    printed: list[str] = []
    fleet.replica.canisters.log_listeners.append(lambda _, line: printed.append(line.text))
    fleet.clock.advance(1500 * MS)
    times = []
    for node in fleet.nodes:
        assert isinstance(node.query(fleet.request("query", "time", NOTHING), "flat"), Reply)
        signature = node.sign({}, b"")
        times.append(f"it is {signature['timestamp']}")
    log = fleet.replica.canisters[fleet.canister].log
    assert [line.text for line in log] == printed == times
    assert [line.number for line in log] == list(range(13))
    assert len(set(times)) > 1


def test_a_canister_that_does_not_change_is_kept_once() -> None:
    fleet = Fleet()
    other = fleet.replica.create_canister(Journal())
    fleet.clock.advance(SECOND)

    def kept(canister_id: Principal) -> object:
        return fleet.subnet.latest.canisters[canister_id].canister

    before = kept(fleet.canister), kept(other)
    fleet.nodes[0].submit(fleet.add("x"))
    fleet.clock.advance(2 * SECOND)
    assert kept(other) is before[1]
    assert kept(fleet.canister) is not before[0]


def test_replicas_learn_of_a_stopped_a_reinstalled_and_a_deleted_canister_with_a_block() -> None:
    fleet = Fleet()
    node, query = fleet.nodes[0], fleet.request("query", "all", NOTHING)
    fleet.nodes[0].submit(fleet.add("x"))
    fleet.clock.advance(5 * SECOND)
    fleet.replica.reinstall_canister(fleet.canister, Journal())
    assert fleet.journal(node) == ["x"]
    fleet.clock.advance(5 * SECOND)
    assert fleet.journal(node) == []
    fleet.replica.stop_canister(fleet.canister, lambda _: None)
    assert isinstance(node.query(query, "flat"), Reply)
    assert node.admit(fleet.add("y")) is None
    fleet.clock.advance(5 * SECOND)
    refused = node.admit(fleet.add("y"))
    assert isinstance(refused, Rejection)
    assert refused.error_code == "IC0508"
    fleet.replica.delete_canister(fleet.canister)
    fleet.clock.advance(5 * SECOND)
    missing = node.query(query, "flat")
    assert isinstance(missing, Rejection)
    assert missing.error_code == "IC0301"
