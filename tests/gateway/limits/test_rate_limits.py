"""Which limit counts for whom, what is told, and what a reload keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import Config
from appliance.gateway.limits.rate_limits import SCOPES, LimitExceeded, Limits, client_key, network_of
from appliance.ic.principal import Principal
from appliance.protocol.events import Call, Join
from tests.gateway.clients import CANISTER, OTHER_CANISTER

SECOND = 10**9
ALICE, BOB = (CANISTER, "alice"), (CANISTER, "bob")


def config(*, connections: str = "1/s", messages: str = "1/s", burst: int = 2, mode="enforce", own=None) -> Config:
    canisters = [{"id": str(CANISTER), **({"rate_limits": {"messages_per_client": own}} if own else {})}]
    limits = {
        **{scope: {"mode": "off"} for scope in SCOPES},
        "connections_per_ip": {"rate": connections, "burst": burst, "mode": mode},
        "messages_per_client": {"rate": messages, "burst": burst, "mode": mode},
    }
    return Config.model_validate({"rate_limits": limits, "canisters": canisters})


class Setup:
    def __init__(self, **terms) -> None:
        self.now = 5 * SECOND
        self.limits = Limits(config(**terms), clock=lambda: self.now)

    def connect(self, times: int, address: str = "192.0.2.7") -> list[LimitExceeded | None]:
        return [self.limits.connection(address) for _ in range(times)]

    def send(self, times: int, key=ALICE) -> list[int]:
        told = [self.limits.message(key) for _ in range(times)]
        return [0 if exceeded is None else exceeded.delay_ns for exceeded in told]


def test_an_address_is_told_when_to_come_back():
    it = Setup(connections="30/m", burst=3)
    *allowed, exceeded = it.connect(4)
    assert allowed == [None] * 3
    assert exceeded.headers() == {
        "Retry-After": "2",
        "RateLimit-Policy": '"connections_per_ip";q=3;w=6',
        "RateLimit": '"connections_per_ip";r=0;t=2',
    }
    it.now += 2 * SECOND - 1
    assert it.connect(1)[0].headers()["Retry-After"] == "1"
    it.now += 1
    assert it.connect(1) == [None]
    assert it.connect(1)[0] is not None


ELSEWHERE = {
    "messages_per_principal": ((OTHER_CANISTER, "alice"), BOB, "messages of this principal 1/h"),
    "messages_per_canister": (BOB, (OTHER_CANISTER, "alice"), "messages to this canister 1/h"),
    "messages_total": ((OTHER_CANISTER, "bob"), None, "messages of all clients 1/h"),
}
"""By limit: whose message counts together with that of ALICE, whose does not, and what is told."""


@pytest.mark.parametrize("mode", ["off", "shadow", "enforce"])
@pytest.mark.parametrize("scope", ELSEWHERE)
def test_messages_of_several_sessions_count_together(scope, mode):
    together, apart, words = ELSEWHERE[scope]
    limits = {name: {"mode": "off"} for name in SCOPES} | {scope: {"rate": "1/h", "burst": 2, "mode": mode}}
    it, now_ns = Config.model_validate({"rate_limits": limits}), 5 * SECOND
    counted = Limits(it, clock=lambda: now_ns)
    assert [counted.message(ALICE), counted.message(together)] == [None, None]
    exceeded = counted.message(ALICE)
    if mode == "off":
        assert exceeded is None
    else:
        assert (exceeded.scope, exceeded.is_enforced) == (scope, mode == "enforce")
        assert words in str(exceeded.error())
        counted.follow(it)
        assert counted.message(together) is not None, "a reload forgets nothing"
    assert apart is None or counted.message(apart) is None


@given(st.integers(1, 10**14))
def test_whole_seconds_are_never_too_few_and_at_most_one_too_many(delay_ns):
    exceeded = LimitExceeded("connections_per_ip", delay_ns, Config().rate_limits.connections_per_ip)
    assert 0 <= exceeded.retry_after * SECOND - delay_ns < SECOND


@given(st.integers(1, 10**14))
def test_the_sentence_tells_milliseconds_never_too_few(delay_ns):
    exceeded = LimitExceeded("messages_per_client", delay_ns, Config().rate_limits.messages_per_client)
    error = exceeded.error()
    told = str(error).rpartition(" in ")[2]
    assert told.endswith(" s")
    assert 0 <= round(float(told[:-2]) * 1000) * 10**6 - delay_ns < 10**6
    assert error.close_code == 4108
    assert len(str(error)) <= 123


def test_the_sentence_has_the_limit():
    it = Setup(messages="30/m", burst=2)
    it.send(2)
    assert str(it.limits.message(ALICE).error()) == "rate limit exceeded: messages 30/m, burst 2; retry in 2 s"


def test_clients_and_canisters_do_not_share():
    it = Setup()
    assert it.send(3) == [0, 0, SECOND]
    assert it.send(3, BOB) == [0, 0, SECOND]
    assert it.send(3, (OTHER_CANISTER, "alice")) == [0, 0, SECOND]


def test_a_canister_may_have_a_limit_of_its_own():
    it = Setup(own={"rate": "10/s", "burst": 3})
    assert it.send(4) == [0, 0, 0, SECOND // 10]
    assert it.send(3, (OTHER_CANISTER, "alice")) == [0, 0, SECOND]


def test_a_limit_of_its_own_that_comes_and_goes_forgets_nothing():
    it = Setup(burst=3)
    it.send(2)
    it.limits.follow(config(burst=3, own={"rate": "10/s", "burst": 3}))
    assert it.send(2) == [0, SECOND // 10]
    it.limits.follow(config(burst=3))
    assert it.send(1) == [SECOND]
    assert it.limits.decisions() == {
        ("connections_per_ip", "allowed", "enforce"): 0,
        ("connections_per_ip", "limited", "enforce"): 0,
        ("messages_per_client", "allowed", "enforce"): 3,
        ("messages_per_client", "limited", "enforce"): 2,
    }


def test_a_reload_changes_rates_without_forgetting():
    it = Setup()
    assert it.send(3) == [0, 0, SECOND]
    it.connect(2)
    it.limits.follow(config(connections="4/s", messages="2/s"))
    assert it.send(1) == [SECOND // 2]
    assert it.connect(1)[0].delay_ns == SECOND // 4


OWN = st.none() | st.fixed_dictionaries(
    {"rate": st.sampled_from(["1/s", "7/s", "30/m"]), "burst": st.integers(1, 5), "mode": st.sampled_from(["enforce"])}
)


@given(st.lists(OWN, min_size=2, max_size=5), st.integers(1, 5))
def test_after_any_reloads_the_configured_limit_is_the_one_that_holds(reloads, burst):
    """A client that used up nothing sees the limit of the last configuration: its canister's own, or that of all."""
    it = Setup(burst=burst, own=reloads[0])
    for number, own in enumerate(reloads):
        it.limits.follow(config(burst=burst, own=own))
        holding = Config.model_validate(
            {"rate_limits": {"messages_per_client": own or {"rate": "1/s", "burst": burst, "mode": "enforce"}}}
        ).rate_limits.messages_per_client
        fresh = (CANISTER, f"client {number}")
        *allowed, delay_ns = it.send(holding.burst + 1, fresh)
        assert not any(allowed)
        assert delay_ns == round(SECOND / holding.rate)
        assert it.limits.message(fresh).limit == holding
        (reported,) = [report.limit for report in it.limits.reports() if report.canister == CANISTER] or [holding]
        assert reported == holding


def test_shadow_tells_and_does_not_enforce():
    it = Setup(mode="shadow")
    exceeded = it.connect(3)[-1]
    assert not exceeded.is_enforced
    assert it.limits.decisions()["connections_per_ip", "limited", "shadow"] == 1


def test_off_does_not_look():
    it = Setup(mode="off")
    assert it.connect(100) == [None] * 100
    assert it.send(100) == [0] * 100
    assert not it.limits.decisions()


def test_the_report_says_who_has_to_wait():
    it = Setup(own={"rate": "10/s", "burst": 3})
    it.connect(4)
    it.send(4, BOB)
    it.send(5, ALICE)
    it.send(4, (OTHER_CANISTER, "carol"))
    reports = it.limits.reports()
    connections, general, own = (each for each in reports if each.remembered)
    assert (connections.scope, connections.canister) == ("connections_per_ip", None)
    assert connections.waiting == [("192.0.2.7", SECOND, 2)]
    assert general.waiting == [(f"carol at {OTHER_CANISTER}", SECOND, 2)]
    assert (own.canister, own.remembered) == (CANISTER, 2)
    assert own.waiting == [("bob", SECOND // 10, 1), ("alice", SECOND // 10, 2)]
    assert own.decisions == {("allowed", "enforce"): 6, ("limited", "enforce"): 3}
    assert sum(len(report.waiting) for report in it.limits.reports(most=1)) == 3
    it.now += SECOND
    assert not any(report.waiting for report in it.limits.reports())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("2001:db8:1:2::1%eth0", "2001:0db8:0001:0002::"),
        ("192.0.2.7", "::ffff:192.0.2.7"),
    ],
)
def test_addresses_of_one_subscriber_are_one(one, other):
    assert network_of(one) == network_of(other) is not None


@pytest.mark.parametrize(("one", "other"), [("2001:db8:1:2::1", "2001:db8:1:3::1"), ("192.0.2.7", "192.0.2.8")])
def test_addresses_of_two_subscribers_are_two(one, other):
    assert network_of(one) != network_of(other)


def test_who_has_no_address_is_not_limited():
    it = Setup()
    assert it.connect(100, "unix") == [None] * 100
    assert it.connect(100, "") == [None] * 100


def join(client: str) -> Join:
    return Join("v2", CANISTER, b"", client, Call(CANISTER, "ws_open", b""))


def test_all_sessions_of_an_identity_are_one_client():
    principal = Principal.self_authenticating(b"somebody")
    assert client_key(join(f"{principal}_1")) == client_key(join(f"{principal}_2")) == (CANISTER, str(principal))
    assert client_key(join("ab" * 32)) == (CANISTER, "ab" * 32)
