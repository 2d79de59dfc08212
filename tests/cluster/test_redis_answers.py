import json
from dataclasses import asdict

import pytest

from appliance.cluster.engine import NodeInfo
from appliance.cluster.redis_answers import info_of

INFO = NodeInfo("1.0", "machine", 7, 1, sessions=3, peer="10.0.0.1:9700", peer_tag="tag", draining=True, revision=4)
FIRST = ("version", "host", "pid", "started_at_ns", "sessions")
"""What the first release with nodes said of itself. Its record stays for an hour after it was killed."""


def test_what_a_node_says_of_itself_is_read_again() -> None:
    assert info_of(json.dumps(asdict(INFO)).encode()) == INFO


def test_an_earlier_release_says_less_and_a_later_one_more() -> None:
    said = asdict(INFO)
    assert info_of(json.dumps({name: said[name] for name in FIRST}).encode()) == NodeInfo("1.0", "machine", 7, 1, 3)
    assert info_of(json.dumps({**said, "mood": "fine"}).encode()) == INFO


@pytest.mark.parametrize("wrong", [{"pid": "7"}, {"peer": 5}, {"host": None}])
def test_what_is_of_another_type_is_no_record(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a node says of itself"):
        info_of(json.dumps({**asdict(INFO), **wrong}).encode())


@pytest.mark.parametrize("name", FIRST[:4])
def test_what_every_release_says_has_to_be_there(name: str) -> None:
    said = asdict(INFO)
    del said[name]
    with pytest.raises(ValueError, match=name):
        info_of(json.dumps(said).encode())


@pytest.mark.parametrize("text", [b"[]", b"7", b"null", b"{", b"\xff"])
def test_what_is_no_record_at_all_is_none(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
        info_of(text)
