"""The oracle finds what it is there for."""

from collections.abc import Sequence

import pytest

from appliance.client.errors import ConnectionClosed
from appliance.errors import GatewayError
from appliance.ic.principal import Principal
from appliance.localnet.websocket.clients import Connection
from appliance.localnet.websocket.dialect import Generation
from appliance.localnet.websocket.wire import ClientKey
from tests.cluster.schedules.canister import Opening, Room
from tests.cluster.schedules.clients import Session
from tests.cluster.schedules.oracle import CUT, Tally, problems_of, tally_of, told_twice, untold

GATEWAY = Principal(b"gateway")
KEY = ClientKey(Principal(b"client"), 7)
WRITTEN = ["0:0:welcome", "0:1:anna:0"]


def room(received: Sequence[str] = (), generation: Generation = "v2") -> Room:
    """With one client, which it greeted, and whose messages it wrote to all."""
    made = Room(generation, GATEWAY, lambda _: None)
    made.openings.append(Opening(0, Connection(KEY, KEY.principal, GATEWAY, 0, 1), list(WRITTEN)))
    made.received["anna"] = list(received)
    return made


def session(sent: Sequence[str] = (), received: Sequence[str] = (), end: GatewayError | None = None) -> Session:
    return Session("anna", "a", "v2", list(sent), list(received), end)


def test_all_is_well_where_everything_arrived() -> None:
    assert not list(problems_of(session(["anna:0"], WRITTEN), room(["anna:0"]), ()))
    assert tally_of(session(["anna:0"], WRITTEN), room(["anna:0"])) == Tally(3, 3, 0, 0, 0)


def test_what_an_open_session_lacks_is_lost() -> None:
    lacks_one = session(["anna:0"], WRITTEN[:1])
    assert len(list(problems_of(lacks_one, room(["anna:0"]), ()))) == 1
    assert len(list(problems_of(session(["anna:0"], WRITTEN), room(), ()))) == 1
    assert tally_of(lacks_one, room()) == Tally(3, 1, 0, 2, 0)


def test_what_a_session_lacks_that_was_closed_is_told() -> None:
    closed = session(["anna:0"], WRITTEN[:1], ConnectionClosed(CUT, ""))
    assert not list(problems_of(closed, room(), [CUT]))
    assert tally_of(closed, room()) == Tally(3, 1, 2, 0, 0)


@pytest.mark.parametrize(
    ("sent", "arrived", "received"),
    [
        (["anna:0"], ["anna:0", "anna:0"], WRITTEN),
        (["anna:0", "anna:1"], ["anna:1"], WRITTEN),
        (["anna:0"], ["anna:0"], [*WRITTEN, WRITTEN[1]]),
        (["anna:0"], ["anna:0"], [WRITTEN[0], "0:2:bert:0"]),
    ],
)
def test_what_is_doubled_or_out_of_order_is_wrong_even_where_the_session_was_closed(
    sent: list[str], arrived: list[str], received: list[str]
) -> None:
    closed = session(sent, received, ConnectionClosed(CUT, ""))
    assert len(list(problems_of(closed, room(arrived), [CUT]))) == 1


def test_a_session_that_no_fault_at_its_node_explains_must_not_end() -> None:
    assert list(problems_of(session(end=ConnectionClosed(CUT, "")), room(), ()))
    assert list(problems_of(session(end=ConnectionClosed(4510, "")), room(), [CUT]))


def test_a_canister_must_know_who_left_and_who_did_not() -> None:
    known = room()
    assert list(untold(known, ended=[0], living=[]))
    known.openings[0].removals.append(None)
    assert not list(untold(known, ended=[0], living=[]))
    assert list(untold(known, ended=[], living=[0]))


@pytest.mark.parametrize(("generation", "is_missed"), [("v0", False), ("v1", False), ("v2", True)])
def test_nobody_tells_of_a_client_of_v0_or_v1_that_came_back(generation: Generation, is_missed: bool) -> None:
    known = room(generation=generation)
    known.openings[0].is_replaced = True
    assert bool(list(untold(known, ended=[0], living=[]))) == is_missed


def test_a_second_close_call_is_counted() -> None:
    known = room()
    known.told[repr(KEY.to_candid())] = 2
    assert told_twice({"v2": known}) == 1
