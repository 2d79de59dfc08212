from structlog.testing import capture_logs

from appliance.errors import IcUnreachable
from appliance.gateway.hooks import Happening
from appliance.gateway.recording.event_bus import EventBus
from tests.gateway.bench import until
from tests.gateway.clients import CANISTER
from tests.gateway.served import served


def test_every_reader_is_told_and_one_that_fails_harms_nobody():
    event_bus, heard = EventBus(lambda: 7), []

    def fails(happening: Happening) -> None:
        raise ValueError("oops")

    event_bus.publish("early")
    event_bus.subscribe(fails)
    event_bus.subscribe(heard.append)
    with capture_logs() as logs:
        event_bus.publish("reload", generation=2)
    assert heard == [Happening("reload", 7, {"generation": 2})]
    assert [line["kind"] for line in logs] == ["reload"]


async def test_sessions_are_told_when_they_open_and_close():
    heard: list[Happening] = []
    async with served() as it:
        it.gateway.event_bus.subscribe(heard.append)
        async with it.websocket():
            pass  # never a session
        async with it.session() as (client, _):
            pass
        await it.nobody()
    assert [happening.kind for happening in heard] == ["session.opened", "session.closed"]
    opened, closed = (dict(happening.facts) for happening in heard)
    assert closed == opened | {"code": 1000, "cause": "client", "delivered": 1}
    assert opened["client"].startswith(str(client.principal))
    assert {**opened, "client": None, "session": None} == {
        "session": None,
        "address": "127.0.0.1",
        "path": "/",
        "generation": "v2",
        "canister": str(CANISTER),
        "client": None,
    }


async def fails() -> None:
    raise IcUnreachable("the endpoint", "it is gone")


async def test_a_canister_that_fails_and_recovers_is_told_once_each():
    heard: list[Happening] = []
    async with served(polling={"min_interval": "5ms", "max_interval": "5ms"}) as it:
        it.gateway.event_bus.subscribe(heard.append)
        async with it.session():
            poller = it.gateway.pollers[CANISTER]
            works, it.ic.before_query = it.ic.before_query, fails
            await until(lambda: poller.backoff.failures > 2)
            it.ic.before_query = works
            await until(lambda: poller.state == "ok")
            poller.pause()
            poller.resume()
        await it.nobody()
    states = [happening.facts for happening in heard if happening.kind == "canister.state"]
    assert [facts["state"] for facts in states] == ["degraded", "ok", "paused", "ok"]
    assert {facts["canister"] for facts in states} == {str(CANISTER)}
    assert [facts["cause"] is None for facts in states] == [False, True, True, True]


def test_a_canister_has_its_configured_name_beside_it():
    names, events = {"aaaaa-aa": "management"}, []
    bus = EventBus(lambda: 0, lambda: names)
    bus.subscribe(events.append)
    bus.publish("canister.state", canister="aaaaa-aa", state="ok")
    bus.publish("canister.state", canister="bkyz2-fmaaa-aaaaa-qaaaq-cai", state="ok")
    assert [event.facts.get("canister_name") for event in events] == ["management", None]
