import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.localnet.websocket.prices import MAX_SYMBOL, MAX_SYMBOLS, Prices, price_at
from tests.localnet.machine import SECOND, START
from tests.localnet.websocket.conversation import ALICE, BOB, GATEWAY, OK
from tests.localnet.websocket.talk import Talk


@pytest.fixture
def talk() -> Talk:
    talk = Talk(Prices())
    for client in (ALICE, BOB):
        talk.enter(client)
    return talk


def symbols(talk: Talk, who: bytes) -> list[str]:
    return [value["Price"]["symbol"] for value in talk.heard(who)]


def test_prices_are_pushed_at_once_and_every_second(talk: Talk) -> None:
    talk.say(ALICE, {"Subscribe": ["ICP", "BTC"]})
    assert symbols(talk, ALICE) == ["ICP", "BTC"]
    talk.advance(2.5)
    assert symbols(talk, ALICE) == ["ICP", "BTC"] * 3
    assert symbols(talk, BOB) == []
    assert [value["Price"]["price"] for value in talk.heard(ALICE)[::2]] == [
        price_at("ICP", START + second * SECOND) for second in range(3)
    ]


def test_a_subscription_replaces_the_one_before(talk: Talk) -> None:
    talk.say(ALICE, {"Subscribe": ["ICP"]})
    talk.say(ALICE, {"Subscribe": ["BTC"]})
    talk.advance(1)
    assert symbols(talk, ALICE) == ["ICP", "BTC", "BTC"]


def test_subscriptions_of_others_delay_no_prices(talk: Talk) -> None:
    talk.say(ALICE, {"Subscribe": ["ICP"]})
    for _ in range(5):
        talk.advance(0.75)
        talk.say(BOB, {"Subscribe": ["BTC"]})
    assert symbols(talk, ALICE) == ["ICP"] * (1 + 3)


def test_nobody_is_pushed_anything_after_the_last_has_gone(talk: Talk) -> None:
    """The timer is that of the acknowledgements again."""
    before = talk.timer_ns
    talk.say(ALICE, {"Subscribe": ["ICP"]})
    assert talk.timer_ns == START + SECOND
    assert talk.query("subscribers", BOB) == 1
    assert talk.close(GATEWAY, ALICE) == OK
    talk.advance(1)
    assert (talk.timer_ns, talk.query("subscribers", BOB)) == (before, 0)


def test_the_market_closes(talk: Talk) -> None:
    talk.say(ALICE, {"Subscribe": ["ICP"]})
    talk.call("close_market", BOB)
    assert (talk.is_closed(ALICE), talk.is_closed(BOB)) == (True, False)


def test_a_subscription_is_bounded(talk: Talk) -> None:
    talk.say(ALICE, {"Subscribe": ["x" * 99] * (MAX_SYMBOLS + 1)})
    assert symbols(talk, ALICE) == ["x" * MAX_SYMBOL] * MAX_SYMBOLS


def test_a_client_cannot_set_a_price(talk: Talk) -> None:
    assert talk.say(ALICE, {"Price": {"symbol": "ICP", "price": 0.0}}) == OK
    assert symbols(talk, ALICE) == symbols(talk, BOB) == []


@given(st.text(max_size=MAX_SYMBOL), st.integers(0, 2**62))
def test_a_price_is_positive_and_the_same_for_everybody(symbol: str, time_ns: int) -> None:
    talk = Talk(Prices())
    assert 0.9 < price_at(symbol, time_ns) < 1060
    assert talk.query("price", ALICE, symbol) == price_at(symbol, START)
