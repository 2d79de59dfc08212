"""What is meant for the machine is divided among its workers."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_worker_is_a_node_with_its_number() -> None:
    first, second = (Role(number, 2, Path("/x")) for number in (1, 2))
    assert (first.node("machine"), second.node("machine")) == ("machine.1", "machine.2")
    assert len(Role(64, 64, Path("/x")).node("m" * 63)) <= 63
    assert first.is_first
    assert not second.is_first
    paths = {path for role in (first, second) for path in (role.control, role.notify, role.engine)}
    assert len(paths) == 5
