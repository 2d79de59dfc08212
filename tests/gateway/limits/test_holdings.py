"""What is held is the sum of what the sockets hold, by address, principal, canister and altogether, always."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from appliance.config.limits import HeldLimits
from appliance.gateway.limits.holdings import CONNECTION_BYTES, HELD_BY, Holdings

NETWORKS = st.sampled_from([None, "192.0.2.1", "192.0.2.2", "2001:db8::/64"])
MIB = 1 << 20
MODES = st.sampled_from(["off", "shadow", "enforce"])


def limits(**of: dict[str, object]) -> HeldLimits:
    """What is not named is off."""
    off = {f"held_per_{by}": {"mode": "off"} for by in HELD_BY}
    return HeldLimits.model_validate(off | {f"held_per_{by}": {"mode": "enforce", **one} for by, one in of.items()})


class Row:
    """What the model knows of a socket."""

    def __init__(self, network: str | None) -> None:
        self.keys = {} if network is None else {"address": network}
        self.bytes = CONNECTION_BYTES


class Accounts(RuleBasedStateMachine):
    sockets = Bundle("sockets")

    def __init__(self) -> None:
        super().__init__()
        self.pressed = 0
        self.modes = dict.fromkeys(HELD_BY, "enforce")
        self.holdings = Holdings(self.limits, 2 * MIB)
        self.holdings.pressed = self.press
        self.model: dict[object, Row] = {}
        self.left = 0

    @property
    def limits(self) -> HeldLimits:
        return limits(**{by: {"connections": 2, "bytes": MIB, "mode": mode} for by, mode in self.modes.items()})

    def press(self) -> None:
        self.pressed += 1

    @rule(target=sockets, network=NETWORKS)
    def hold(self, network):
        holding = self.holdings.hold(network)
        self.model[holding] = Row(network)
        return holding

    @rule(holding=sockets, network=NETWORKS)
    def move(self, holding, network):
        holding.move(network)
        if holding in self.model:
            keys = self.model[holding].keys
            keys.pop("address", None)
            keys.update({} if network is None else {"address": network})

    @rule(holding=sockets, principal=st.sampled_from("pq"), canister=st.sampled_from("ab"))
    def join(self, holding, principal, canister):
        if holding not in self.model:
            holding.join(canister, principal)  # the socket is gone: it counts for nobody
        elif "principal" not in self.model[holding].keys:
            holding.join(canister, principal)
            self.model[holding].keys |= {"principal": principal, "canister": canister}

    @rule(by=st.sampled_from(HELD_BY), mode=MODES)
    def follow(self, by, mode):
        self.modes[by] = mode
        self.holdings.follow(self.limits, 2 * MIB)

    @rule(holding=sockets, number=st.integers(0, MIB // 2))
    def add(self, holding, number):
        before = self.pressed
        holding.add(number)
        is_too_much = self.holdings.bytes > 0.9 * 2 * MIB
        if holding in self.model:
            self.model[holding].bytes += number
            held = self.held()
            for by, key in self.model[holding].keys.items():
                is_too_much |= self.modes[by] == "enforce" and sum(held[by][key]) > MIB
        else:
            self.left += number
        assert self.pressed - before == (number > 0 and is_too_much)

    @rule(holding=consumes(sockets) | sockets)
    def release(self, holding):
        holding.release()
        if (row := self.model.pop(holding, None)) is not None:
            self.left += row.bytes - CONNECTION_BYTES

    def held(self) -> dict[str, dict[str, list[int]]]:
        """The bytes of each connection by who holds it."""
        found = {by: defaultdict(list) for by in HELD_BY}
        for row in self.model.values():
            for by, key in row.keys.items():
                found[by][key].append(row.bytes)
        return found

    @invariant()
    def everything_adds_up(self):
        rows = list(self.model.values())
        assert self.holdings.connections == len(rows)
        assert self.holdings.bytes == self.left + sum(row.bytes for row in rows)
        assert self.holdings.is_full == (self.holdings.bytes > 0.8 * 2 * MIB)
        excess = {(share.account.by, share.key): more for share, more in self.holdings.excess().items()}
        expected = {}
        for account in self.holdings.accounts:
            counts = self.held()[account.by]
            assert len(account) == len(counts)
            assert account.largest() == max(map(len, counts.values()), default=0)
            if self.modes[account.by] == "enforce":
                expected |= {(account.by, key): sum(of) - MIB for key, of in counts.items() if sum(of) > MIB}
        assert excess == expected
        for holding, row in self.model.items():
            assert {share.account.by: share.key for share in holding.shares} == row.keys
            for share in holding.shares:
                sizes = self.held()[share.account.by][share.key]
                assert (share.connections, share.bytes) == (len(sizes), sum(sizes))
                is_off = self.modes[share.account.by] == "off"
                assert share.account.has_more(share) == (len(sizes) > 2 and not is_off)


TestAccounts = Accounts.TestCase


@pytest.mark.parametrize("by", HELD_BY)
@pytest.mark.parametrize("mode", ["off", "shadow", "enforce"])
def test_each_time_that_one_begins_to_hold_too_much_counts_in_shadow_too(by, mode):
    holdings, pressed = Holdings(limits(**{by: {"bytes": MIB, "mode": mode}}), 1 << 30), []
    holdings.pressed = lambda: pressed.append(1)
    holding, other = holdings.hold("192.0.2.1"), holdings.hold(None)
    holding.join("canister", "principal")
    for number in (MIB, 5, -MIB, MIB):
        holding.add(number)
        other.add(number)
    exceeded = {account.by: account.bytes_exceeded for account in holdings.accounts}
    assert exceeded.pop(by) == ({} if mode == "off" else {mode: 2})
    assert not any(exceeded.values())
    assert len(pressed) == (3 if mode == "enforce" else 0)
    assert bool(holdings.excess()) == (mode == "enforce"), "whoever is shed for other reasons, nobody is for this"
    holding.release()
    holding.add(MIB)
    assert getattr(holdings, by).bytes_exceeded.total() == (0 if mode == "off" else 2)


@pytest.mark.parametrize("mode", ["off", "shadow", "enforce"])
def test_one_connection_more_than_allowed_is_refused_or_counted_also_where_the_limit_comes_later(mode):
    holdings = Holdings(limits(), 1 << 30)
    for canister in "ab":
        holdings.hold(None).join(canister, "p")
    assert not holdings.principal.refuses("p")
    holdings.follow(limits(principal={"connections": 2, "mode": mode}), 1 << 30)
    assert holdings.principal.refuses("p") == (mode == "enforce")
    assert not holdings.principal.refuses("q")
    assert not holdings.canister.refuses("a")
    assert holdings.principal.connections_exceeded == ({} if mode == "off" else {mode: 1})


@pytest.mark.parametrize("by", ["address", "principal"])
@given(of_one=st.integers(1 << 20, 1 << 30), of_all=st.integers(1 << 20, 1 << 30), held=st.integers(1 << 20, 1 << 30))
def test_one_is_pressed_before_it_keeps_newcomers_out(by, of_one, of_all, held):
    holdings = Holdings(limits(**{by: {"bytes": of_one}}), of_all)
    holding = holdings.hold("192.0.2.1")
    holding.join("canister", "principal")
    is_pressed = holding.add(held)
    if holdings.is_full or held > of_one:
        assert is_pressed
        assert [share.account.by for share in holdings.excess()] == [by]
