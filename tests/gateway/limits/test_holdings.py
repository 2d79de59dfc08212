"""What is held is the sum of what the sockets hold, by address and altogether, through everything that can happen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from appliance.config.limits import HeldPerAddress
from appliance.gateway.limits.holdings import CONNECTION_BYTES, Holdings

NETWORKS = st.sampled_from([None, "192.0.2.1", "192.0.2.2", "2001:db8::/64"])


class Accounts(RuleBasedStateMachine):
    sockets = Bundle("sockets")

    def __init__(self) -> None:
        super().__init__()
        self.pressed = 0
        self.holdings = Holdings(HeldPerAddress(connections=2, bytes=1 << 20), 1 << 21)
        self.holdings.pressed = self.press
        self.model = {}
        self.left = 0

    def press(self) -> None:
        self.pressed += 1

    @rule(target=sockets, network=NETWORKS)
    def hold(self, network):
        holding = self.holdings.hold(network)
        self.model[holding] = [network, CONNECTION_BYTES]
        return holding

    @rule(holding=sockets, network=NETWORKS)
    def move(self, holding, network):
        holding.move(network)
        if holding in self.model:
            self.model[holding][0] = network

    @rule(holding=sockets, number=st.integers(0, 1 << 19))
    def add(self, holding, number):
        before = self.pressed
        holding.add(number)
        if holding in self.model:
            self.model[holding][1] += number
        else:
            self.left += number
        is_too_much = self.holdings.bytes > 0.9 * (1 << 21) or self.holdings.exceeds_bytes(holding)
        assert self.pressed - before == (number > 0 and is_too_much)

    @rule(holding=consumes(sockets) | sockets)
    def release(self, holding):
        holding.release()
        if (row := self.model.pop(holding, None)) is not None:
            self.left += row[1] - CONNECTION_BYTES

    @invariant()
    def everything_adds_up(self):
        rows = list(self.model.values())
        assert self.holdings.connections == len(rows)
        assert self.holdings.bytes == self.left + sum(size for _, size in rows)
        assert self.holdings.is_full == (self.holdings.bytes > 0.8 * (1 << 21))
        named = {network for network, _ in rows if network is not None}
        assert len(self.holdings) == len(named)
        counts = {network: [size for other, size in rows if other == network] for network in named}
        assert self.holdings.largest() == max(map(len, counts.values()), default=0)
        held = {network: sum(sizes) - (1 << 20) for network, sizes in counts.items()}
        assert self.holdings.excess() == {network: size for network, size in held.items() if size > 0}
        for holding, (network, _) in self.model.items():
            if network is not None:
                assert holding.share.connections == len(counts[network])
                assert holding.share.bytes == sum(counts[network])
                assert self.holdings.exceeds(holding) == (len(counts[network]) > 2)


TestAccounts = Accounts.TestCase


@pytest.mark.parametrize("mode", ["off", "shadow", "enforce"])
def test_each_time_that_an_address_begins_to_hold_too_much_counts_in_shadow_too(mode):
    holdings, pressed = Holdings(HeldPerAddress(bytes=1 << 20, mode=mode), 1 << 30), []
    holdings.pressed = lambda: pressed.append(1)
    holding, other = holdings.hold("192.0.2.1"), holdings.hold(None)
    for number in (1 << 20, 5, -(1 << 20), 1 << 20):
        holding.add(number)
        other.add(number)
    assert holdings.bytes_exceeded == ({} if mode == "off" else {mode: 2})
    assert len(pressed) == (3 if mode == "enforce" else 0)
    assert bool(holdings.excess()) == (mode == "enforce"), "whoever is shed for other reasons, nobody is for this"
    holding.release()
    holding.add(1 << 20)
    assert holdings.bytes_exceeded.total() == (0 if mode == "off" else 2)


@given(st.integers(1 << 20, 1 << 30), st.integers(1 << 20, 1 << 30), st.integers(1 << 20, 1 << 30))
def test_one_address_is_pressed_before_it_keeps_newcomers_out(of_address, of_all, held):
    holdings = Holdings(HeldPerAddress(bytes=of_address), of_all)
    holding = holdings.hold("192.0.2.1")
    holding.add(held)
    if holdings.is_full or held > of_address:
        assert holdings.is_pressed(holding)
        assert holdings.excess()["192.0.2.1"] > 0
