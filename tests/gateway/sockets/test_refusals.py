"""What is recorded of connections that were refused, without a socket."""

from contextlib import suppress

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import Config
from appliance.gateway.recording.event_bus import EventBus
from appliance.gateway.sockets.refusals import ADDRESSES, BURST_S, EVENT, PER_ADDRESS, Refusal, Refusals
from tests.gateway.bench import until
from tests.gateway.served import served
from tests.gateway.sockets.test_connection import BINARY, FINAL

RATE = 2


class Desk:
    def __init__(self, rate: str = f"{RATE}/s") -> None:
        self.config = Config.model_validate({"log": {"refusals": rate}})
        self.now_ns = 0
        self.events: list[dict[str, object]] = []
        bus = EventBus(lambda: 0)
        bus.subscribe(lambda happening: self.events.append(dict(happening.facts)))
        self.refusals = Refusals(lambda: self.config, bus, lambda: self.now_ns)

    def reject(self, address: str = "192.0.2.1", at_ns: int = 0) -> None:
        self.refusals.reject(Refusal("1", at_ns, address, "origin", "no", 403, path="/", origin="https://a"))


def test_one_line_and_one_event_each():
    desk = Desk()
    with structlog.testing.capture_logs() as lines:
        desk.reject()
    facts = {"session": "1", "address": "192.0.2.1", "reason": "origin", "cause": "no", "status": 403}
    facts |= {"path": "/", "origin": "https://a"}
    assert desk.events == [facts]
    assert lines == [{"event": "connection refused", "log_level": "info", **facts}]
    assert desk.refusals.rejected == {"origin": 1}


@given(st.lists(st.integers(0, 3 * 10**9), min_size=1, max_size=60))
def test_every_refusal_is_counted_and_as_many_are_logged_as_allowed(gaps: list[int]):
    desk = Desk()
    for gap_ns in gaps:
        desk.now_ns += gap_ns
        desk.reject()
    assert desk.refusals.rejected.total() == len(gaps) == len(desk.events) + desk.refusals.unlogged
    assert len(desk.events) <= RATE * BURST_S + RATE * desk.now_ns / 1e9 + 1
    skipped = sum(int(str(event.get("not_logged", 0))) for event in desk.events)
    assert skipped <= desk.refusals.unlogged
    desk.now_ns += 10**12
    desk.reject()
    assert skipped + int(str(desk.events[-1].get("not_logged", 0))) == desk.refusals.unlogged


def test_the_rate_follows_the_configuration():
    desk = Desk("0/s")
    desk.reject()
    assert not desk.events
    desk.config = Config.model_validate({"log": {"refusals": "1/s"}})
    desk.reject()
    assert desk.events[0]["not_logged"] == 1


def test_the_latest_of_an_address_are_remembered():
    desk = Desk()
    for number in range(PER_ADDRESS + 5):
        desk.reject(at_ns=number)
    assert [each.at_ns for each in desk.refusals.of("192.0.2.1")] == list(range(PER_ADDRESS + 4, 4, -1))
    assert desk.refusals.of("192.0.2.2") == []
    with pytest.raises(ValueError, match="does not appear to be"):
        desk.refusals.of("nowhere")


def test_one_that_keeps_trying_washes_nobody_away():
    desk = Desk()
    desk.reject("192.0.2.9")
    for _ in range(10 * PER_ADDRESS * ADDRESSES):
        desk.reject("192.0.2.1")
    assert len(desk.refusals.of("192.0.2.9")) == 1


def test_memory_is_bounded_and_the_longest_quiet_is_forgotten():
    desk = Desk()
    for number in range(ADDRESSES + 1):
        desk.reject(f"10.0.{number // 256}.{number % 256}")
    assert desk.refusals.of("10.0.0.0") == []
    assert len(desk.refusals.of("10.0.0.0/8")) == ADDRESSES


def test_addresses_are_found_in_every_form():
    desk = Desk()
    desk.reject("2001:db8::1", 1)
    desk.reject("2001:db8::2", 2)
    desk.reject("unix", 3)
    assert [each.at_ns for each in desk.refusals.of("2001:db8::2")] == [2]
    assert [each.at_ns for each in desk.refusals.of("2001:db8::/32")] == [2, 1]
    assert [each.at_ns for each in desk.refusals.of("unix")] == [3]


async def test_a_refused_origin_is_seen_everywhere():
    async with served(gateway={"origins": ["https://dapp.example"]}) as it:
        events = []
        it.gateway.event_bus.subscribe(events.append)
        raw = await it.raw()
        raw.writer.write(b"GET /v2?secret HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\n\r\n")
        assert (await raw.reader.readline()).startswith(b"HTTP/1.1 403 ")
        raw.close()
        await it.nobody()
        (event,) = [each for each in events if each.kind == EVENT]
        assert event.facts["reason"] == "origin"
        assert (event.facts["origin"], event.facts["path"]) == ("https://evil.example", "/v2")
        (refusal,) = it.listener.refusals.of("127.0.0.1")
        assert it.gateway.timelines.find(refusal.id) is not None


async def test_a_websocket_that_got_no_session_is_one_too_and_one_with_a_session_is_not():
    async with served(unlisted_canisters="deny") as it:
        async with it.session():
            pass
        raw = await it.upgraded()
        raw.send(FINAL | BINARY, b"nonsense")
        code, _ = await raw.close_frame()
        raw.close()
        await it.nobody()
        (refusal,) = it.listener.refusals.of("127.0.0.1")
        assert (refusal.code, refusal.status, refusal.reason, refusal.path) == (code, None, "malformed", "/")
        assert not it.listener.refusals.rejected


async def test_sockets_beyond_all_bounds_are_reset_and_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("appliance.gateway.sockets.accepting.arrivals.SURPLUS", 0)
    async with served(gateway={"max_connections": 1}) as it, it.session():
        raw = await it.raw()
        with suppress(ConnectionResetError):
            assert await raw.reader.read() == b""
        raw.close()
        await until(lambda: len(it.listener) == 1)
        assert it.listener.refusals.rejected == {"reset": 1}
