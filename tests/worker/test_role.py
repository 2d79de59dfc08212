"""What is meant for the machine is divided among its workers."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.fields.units import Unit
from appliance.config.problems import field_at, keys_of
from appliance.config.schema import Config
from appliance.gateway.limits.memory import memory_limit
from appliance.worker.role import MIN_CALL_BYTES, MIN_CALLS, MIN_MEMORY, Role


@given(
    st.integers(1, 64),
    st.integers(1, 1_000_000),
    st.integers(16, 100_000),
    st.floats(1, 100_000),
    st.sampled_from(["16MiB", "60%", "1GiB", "100%"]),
)
def test_the_shares_of_all_are_the_whole(count: int, sockets: int, calls: int, polls: float, memory: str) -> None:
    config = Config.model_validate(
        {
            "gateway": {"max_connections": sockets},
            "relay": {"calls": calls},
            "polling": {"budget": polls},
            "limits": {"memory": memory},
        }
    )
    share = Role(1, count, Path("/x")).share(config)
    assert sockets <= count * share.gateway.max_connections < sockets + count
    assert share.relay.calls == max(MIN_CALLS, calls // count)
    assert share.relay.bytes == max(MIN_CALL_BYTES, config.relay.bytes // count)
    assert count * share.polling.budget == pytest.approx(polls)
    assert count * share.drain.rate == pytest.approx(max(count, config.drain.rate))
    part = memory_limit(share.limits.memory)
    assert part == max(MIN_MEMORY, memory_limit(memory) // count)
    assert config.gateway.max_connections == sockets


DIVIDED = {
    *("gateway.max_connections", "relay.calls", "relay.bytes", "drain.rate", "polling.budget", "limits.memory"),
}
"""What a machine has, or may ask of the network, once."""
WHOLE = {
    "log.refusals": "of what one process writes: the first of many tells more than a share of them",
    **dict.fromkeys(
        ("gateway.max_frame", "gateway.max_opening", "gateway.outbox", "relay.window", "relay.queue"),
        "of one client, which is at one worker",
    ),
    "network.max_reply": "of one reply",
    "verification.share_per_ip": "a part of the time that one process verifies in",
    "limits.held_per": "of one address, principal or canister: all its clients may be at one worker",
    "rate_limits.": "of one connection or client; or of several, that may be at one worker (scope: cluster counts all)",
    "canisters.rate_limits.": "as those of all canisters",
    "canisters.max_clients": "of one canister: all its clients may be at one worker",
    "control.keep": "of what only the first worker writes",
    "metrics.canisters": "labels: the same ones at every worker",
    "plugins.queue": "of what one process passes to its plugins",
    "cluster.": "of one node, and each worker is one; or of the engine, which is one",
}


def test_every_amount_is_divided_or_is_for_a_reason_that_of_each_worker() -> None:
    amounts = set[str]()
    for path in keys_of(Config):
        if (field := field_at(path)) is None or len(path) == 1:
            continue
        is_time = any(isinstance(each, Unit) and each.of == "duration" for each in field.metadata)
        if type(field.default) in (int, float) and not is_time:
            amounts.add(".".join(path))
    amounts |= {"limits.memory", "canisters.max_clients"}
    assert amounts >= DIVIDED
    for key in amounts - DIVIDED:
        assert any(key.startswith(each) for each in WHOLE), f"{key} has to be divided among workers, or a reason"
    for each in WHOLE:
        assert any(key.startswith(each) for key in amounts), f"{each} is no amount"


def test_nothing_else_is_divided() -> None:
    config = Config()
    share = Role(1, 4, Path("/x")).share(config)
    changed = {
        ".".join(path)
        for path in keys_of(Config)
        if path[0] not in ("canisters", "plugins") and _at(config, path) != _at(share, path)
    }
    assert {key for key in changed if not any(other.startswith(f"{key}.") for other in changed)} == DIVIDED


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        value = getattr(value, part, None)
    return value


def test_a_worker_is_a_node_with_its_number() -> None:
    first, second = (Role(number, 2, Path("/x")) for number in (1, 2))
    assert (first.node("machine"), second.node("machine")) == ("machine.1", "machine.2")
    assert len(Role(64, 64, Path("/x")).node("m" * 63)) <= 63
    assert first.is_first
    assert not second.is_first
    paths = {path for role in (first, second) for path in (role.control, role.notify, role.engine)}
    assert len(paths) == 5
