from dataclasses import replace
from typing import Any

import pytest

from appliance.localnet.subnet.conditions import Conditions


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"block_time_s": -1.0}, "block_time_s is -1.0, it must not be negative"),
        ({"call_wait_s": float("nan")}, "call_wait_s is nan"),
        ({"gossip_s": (0.2, 0.1)}, "gossip_s is 0.2 to 0.1"),
        ({"round_trip_s": (-0.1, 0.1)}, "round_trip_s is -0.1 to 0.1"),
        ({"replicas": 0}, "replicas is 0, a subnet has at least 1"),
        ({"block_time_s": 0.0}, "need a block time"),
    ],
)
def test_what_no_network_has_is_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        replace(Conditions.like_mainnet(), **values)


@pytest.mark.parametrize("values", [{"replicas": 2}, {"gossip_s": (0.0, 0.1)}, {"lag_blocks": 1.0}])
def test_what_needs_blocks_needs_a_block_time(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need a block time"):
        Conditions(**values)
    assert Conditions(block_time_s=1.0, **values).has_blocks


def test_faster_divides_times_and_nothing_else() -> None:
    usual = Conditions.like_mainnet(b"seed")
    faster = usual.faster(10)
    assert faster.block_time_s == usual.block_time_s / 10
    assert faster.gossip_s == (usual.gossip_s[0] / 10, usual.gossip_s[1] / 10)
    assert faster.round_trip_s == (usual.round_trip_s[0] / 10, usual.round_trip_s[1] / 10)
    assert faster.call_wait_s == usual.call_wait_s / 10
    unchanged = {"replicas", "lag_blocks", "subnet", "seed"}
    assert all(getattr(faster, name) == getattr(usual, name) for name in unchanged)
    assert faster.faster(1) == faster
