from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.errors import CanisterFull, DuplicateClient, ReplayedEnvelope
from appliance.gateway.hub import Hub
from appliance.protocol.events import Join
from tests.gateway.clients import CANISTER, OTHER_CANISTER


@dataclass
class Opening:
    """What the hub reads of a request."""

    request_id: bytes
    ingress_expiry_ns: int = 100


def join(key=b"key", request_id=b"id", canister=CANISTER, expiry_ns=100):
    return Join(canister, key, key.decode(), Opening(request_id, expiry_ns))


def test_a_second_client_with_the_same_key_is_refused_and_the_first_stays():
    hub, first = Hub(), object()
    hub.join(join(), first, limit=None, now_ns=0)
    with pytest.raises(DuplicateClient):
        hub.join(join(request_id=b"other"), object(), limit=None, now_ns=0)
    assert hub.members(CANISTER)[b"key"] is first


def test_a_key_is_taken_until_the_canister_knows_that_its_client_left():
    hub = Hub()
    hub.join(join(), object(), limit=None, now_ns=0)
    assert hub.leave(join())
    assert not hub.members(CANISTER)
    again = join(request_id=b"other")
    with pytest.raises(DuplicateClient):
        hub.join(again, object(), limit=None, now_ns=0)
    hub.forget(join())
    hub.join(again, object(), limit=None, now_ns=0)


def test_an_opening_message_serves_once_until_it_expires():
    hub = Hub()
    hub.join(join(), object(), limit=None, now_ns=0)
    hub.leave(join())
    hub.forget(join())
    for now_ns in (0, 100):
        with pytest.raises(ReplayedEnvelope):
            hub.join(join(), object(), limit=None, now_ns=now_ns)
    hub.join(join(), object(), limit=None, now_ns=101)


def test_a_refused_opening_message_is_not_used_up():
    hub = Hub()
    hub.join(join(), object(), limit=1, now_ns=0)
    second = join(b"second", b"second")
    with pytest.raises(CanisterFull):
        hub.join(second, object(), limit=1, now_ns=0)
    hub.join(second, object(), limit=2, now_ns=0)
    hub.join(join(request_id=b"third", canister=OTHER_CANISTER), object(), limit=1, now_ns=0)


def test_what_is_remembered_is_bounded_and_the_soonest_to_expire_goes_first():
    hub = Hub(remembered=3)
    for number in range(4):
        hub.join(join(b"%d" % number, b"%d" % number, expiry_ns=100 - number), object(), limit=None, now_ns=0)
    for number in (0, 1, 3):
        with pytest.raises(ReplayedEnvelope):
            hub.join(join(b"x", b"%d" % number), object(), limit=None, now_ns=0)
    hub.join(join(b"x", b"2"), object(), limit=None, now_ns=0)


class HubMachine(RuleBasedStateMachine):
    """The hub against a plain dict."""

    def __init__(self):
        super().__init__()
        self.hub = Hub()
        self.model = {}
        self.leaving = set()
        self.requests = 0

    @rule(key=st.sampled_from([b"a", b"b", b"c"]), canister=st.sampled_from([CANISTER, OTHER_CANISTER]))
    def join(self, key, canister):
        self.requests += 1
        event = join(key, b"%d" % self.requests, canister)
        member = object()
        try:
            self.hub.join(event, member, limit=2, now_ns=0)
        except DuplicateClient:
            assert (canister, key) in self.model or (canister, key) in self.leaving
        except CanisterFull:
            assert sum(1 for where, _ in self.model if where == canister) == 2
        else:
            assert (canister, key) not in self.leaving
            self.model[canister, key] = member

    @rule(data=st.data())
    def leave(self, data):
        if self.model:
            canister, key = data.draw(st.sampled_from(sorted(self.model)))
            del self.model[canister, key]
            self.leaving.add((canister, key))
            assert self.hub.leave(join(key, canister=canister)) == all(where != canister for where, _ in self.model)

    @rule(data=st.data())
    def forget(self, data):
        if self.leaving:
            canister, key = data.draw(st.sampled_from(sorted(self.leaving)))
            self.leaving.discard((canister, key))
            self.hub.forget(join(key, canister=canister))

    @invariant()
    def same(self):
        assert len(self.hub) == len(self.model)
        for canister in (CANISTER, OTHER_CANISTER):
            expected = {key: member for (where, key), member in self.model.items() if where == canister}
            assert dict(self.hub.members(canister)) == expected


TestHubMachine = HubMachine.TestCase
