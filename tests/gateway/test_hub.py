import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.crypto import read_envelope_unverified
from appliance.errors import CanisterFull, ClientLeaving, DuplicateClient, EnvelopeExpired, ReplayedEnvelope
from appliance.gateway.hub import Hub
from appliance.protocol.events import Call, Join
from tests.gateway.clients import CANISTER, OTHER_CANISTER, Client


def opening(expiry_ns=100):
    """A request to open, each another one."""
    return read_envelope_unverified(Client().open(expiry_ns=expiry_ns))


FIRST = opening()


def join(key=b"key", request=FIRST, canister=CANISTER):
    return Join("v2", canister, key, key.decode(), request)


def test_a_second_client_with_the_same_key_is_refused_and_the_first_stays():
    hub, first = Hub(), object()
    hub.join(join(), first, limit=None, now_ns=0)
    with pytest.raises(DuplicateClient):
        hub.join(join(request=opening()), object(), limit=None, now_ns=0)
    assert hub.members(CANISTER)[b"key"] is first


def test_a_key_is_taken_until_the_canister_knows_that_its_client_left():
    hub = Hub()
    hub.join(join(), object(), limit=None, now_ns=0)
    assert hub.leave(join())
    assert not hub.members(CANISTER)
    again = join(request=opening())
    with pytest.raises(ClientLeaving):
        hub.join(again, object(), limit=None, now_ns=0)
    hub.free(join())
    hub.join(again, object(), limit=None, now_ns=0)


def test_an_opening_message_serves_once_until_it_expires():
    hub = Hub()
    hub.join(join(), object(), limit=None, now_ns=0)
    hub.leave(join())
    hub.free(join())
    for now_ns in (0, 100):
        with pytest.raises(ReplayedEnvelope):
            hub.join(join(), object(), limit=None, now_ns=now_ns)
    with pytest.raises(EnvelopeExpired):
        hub.join(join(), object(), limit=None, now_ns=101)
    hub.join(join(), object(), limit=None, now_ns=101, refuse_expired=False)


def test_a_refused_opening_message_is_not_used_up():
    hub = Hub()
    hub.join(join(), object(), limit=1, now_ns=0)
    second = join(b"second", opening())
    with pytest.raises(CanisterFull):
        hub.join(second, object(), limit=1, now_ns=0)
    hub.join(second, object(), limit=2, now_ns=0)
    hub.join(join(request=opening(), canister=OTHER_CANISTER), object(), limit=1, now_ns=0)


def test_what_is_remembered_is_bounded_and_the_soonest_to_expire_goes_first():
    hub = Hub(remembered=3)
    requests = [opening(100 - number) for number in range(4)]
    for number, request in enumerate(requests):
        hub.join(join(b"%d" % number, request), object(), limit=None, now_ns=0)
    for number in (0, 1, 3):
        with pytest.raises(ReplayedEnvelope):
            hub.join(join(b"x", requests[number]), object(), limit=None, now_ns=0)
    hub.join(join(b"x", requests[2]), object(), limit=None, now_ns=0)


def test_a_call_of_the_gateway_itself_is_not_remembered():
    hub, call = Hub(), Call(CANISTER, "ws_open", b"")
    for _ in range(2):
        hub.join(join(request=call), object(), limit=None, now_ns=0)
        hub.leave(join())
        hub.free(join())


class HubMachine(RuleBasedStateMachine):
    """The hub against a plain dict."""

    def __init__(self):
        super().__init__()
        self.hub = Hub()
        self.model = {}
        self.leaving = set()

    @rule(key=st.sampled_from([b"a", b"b", b"c"]), canister=st.sampled_from([CANISTER, OTHER_CANISTER]))
    def join(self, key, canister):
        event = join(key, opening(), canister)
        member = object()
        try:
            self.hub.join(event, member, limit=2, now_ns=0)
        except DuplicateClient:
            assert (canister, key) in self.model
        except ClientLeaving:
            assert (canister, key) in self.leaving
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
            self.hub.free(join(key, canister=canister))

    @invariant()
    def same(self):
        assert len(self.hub) == len(self.model)
        assert sorted(self.hub.canisters()) == sorted({canister for canister, _ in self.model})
        for canister in (CANISTER, OTHER_CANISTER):
            expected = {key: member for (where, key), member in self.model.items() if where == canister}
            assert dict(self.hub.members(canister)) == expected


TestHubMachine = HubMachine.TestCase
