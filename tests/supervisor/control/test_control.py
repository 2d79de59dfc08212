"""The control plane of a gateway with two workers: one API."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from appliance.control.auth.tokens import Grant, hash_token
from appliance.control.client import Client, ControlRefused
from appliance.control.models import (
    Applied,
    ApplyRequest,
    Canisters,
    Closed,
    CloseRequest,
    ConfigShown,
    Drain,
    DrainRequest,
    History,
    Log,
    Nodes,
    Session,
    SessionFilter,
    Sessions,
    Stats,
    Status,
    Story,
    Workers,
)
from tests.gateway.players import playing
from tests.supervisor.workplace import PATIENCE_S, Workplace, house, stopped, working

pytestmark = pytest.mark.timeout(PATIENCE_S + 120)
TOKEN = "icws_of_a_viewer"


async def test_two_workers_have_one_control_plane(tmp_path: Path, unused_tcp_port: int) -> None:
    (tmp_path / "tokens").write_text(f"{Grant('viewer', 'viewer', hash_token(TOKEN))}\n")
    listen = f"control: {{listen: ['unix:data/control.sock', '127.0.0.1:{unused_tcp_port}'], tokens: tokens}}\n"
    async with house(tmp_path, listen) as at, working(at) as place, AsyncExitStack() as stack:
        first, second = (await place.workers()).items
        with stopped(second.pid):
            await stack.enter_async_context(playing(place.network("v2")))
        with stopped(first.pid):
            last = await stack.enter_async_context(playing(place.network("v2")))
        events = asyncio.ensure_future(asyncio.to_thread(_first_change, place.api))
        await _views(place)
        await _changes(place)
        assert (await events)["worker"] == 1
        await _roles(Client(f"http://127.0.0.1:{unused_tcp_port}", TOKEN))
        await _closing(place)
        assert (await last.closed())[0] == 4109


def _first_change(api: Client) -> dict[str, object]:
    return next(event.data for event in api.events(["reload"]) if event.data["result"] == "applied")


async def _views(place: Workplace) -> None:
    ask, api = place.ask, place.api
    status = await place.status()
    assert (status.sessions, status.connections, status.cluster, status.engine) == (2, 2, "main", "joined")
    nodes = await ask(api.get, Nodes, "/v1/nodes")
    assert len({each.name for each in nodes.items}) == 2
    page = await ask(api.get, Sessions, "/v1/sessions", limit=1)
    rest = await ask(api.get, Sessions, "/v1/sessions", limit=1, after=page.next)
    assert (len(page.items), len(rest.items), rest.next) == (1, 1, None)
    assert page.items[0].id != rest.items[0].id
    assert page.items[0].connected_at <= rest.items[0].connected_at
    for number, each in enumerate((*page.items, *rest.items), 1):
        assert (await ask(api.get, Session, f"/v1/sessions/{each.id}")).id == each.id
        assert (await ask(api.get, Story, f"/v1/sessions/{each.id}/story")).session == each.id
        (own,) = (await ask(api.get, Sessions, "/v1/sessions", worker=number)).items
        assert own.id == each.id
    assert sum(each.clients for each in (await ask(api.get, Canisters, "/v1/canisters")).items) == 2
    assert (await ask(api.get, Stats, "/v1/stats")).counters["joined"] == 2
    assert [await place.metric(f'icws_connections{{worker="{number}"}}') for number in (1, 2)] == [1, 1]
    health = await ask(api.health, "/readyz")
    assert health.status == "ok"
    for path, said in (("/v1/sessions/unknown", "unknown"), ("/v1/status?worker=3", "worker 3")):
        with pytest.raises(ControlRefused, match=said):
            await ask(api.get, Status, path)


async def _changes(place: Workplace) -> None:
    ask, api, file = place.ask, place.api, place.house.file
    file.write_text(file.read_text() + "relay: {window: 3}\n")
    applied = await ask(api.post, Applied, "/v1/config/apply", ApplyRequest())
    assert applied.result == "applied"
    for number in (1, 2):
        shown = await ask(api.get, ConfigShown, "/v1/config", worker=number)
        assert (shown.generation, shown.values["relay"]["window"]) == (applied.generation, 3)
        assert shown.values["gateway"]["max_connections"] == 20_000
    assert await place.metric('icws_connections_limit{worker="2"}') == 10_000
    assert len((await ask(api.get, History, "/v1/config/history")).items) == 2
    assert len(list((file.parent / "data/history").glob("*.json"))) == 2
    file.write_text(file.read_text() + "no_such_key: 1\n")
    with pytest.raises(Exception, match="no_such_key"):
        await ask(api.post, Applied, "/v1/config/apply", ApplyRequest())
    await ask(api.ask, Log, "PUT", "/v1/log", body=Log(level="warning"))
    assert [(await ask(api.get, Log, "/v1/log", worker=number)).level for number in (1, 2)] == ["warning"] * 2


async def _roles(viewer: Client) -> None:
    assert (await asyncio.to_thread(viewer.get, Status, "/v1/status")).sessions == 2
    assert (await asyncio.to_thread(viewer.get, Workers, "/v1/workers")).items
    for path in ("/v1/workers/restart", "/v1/config/apply"):
        with pytest.raises(ControlRefused) as refused:
            await asyncio.to_thread(viewer.post, Applied, path, ApplyRequest())
        assert refused.value.details.status == 403
    with pytest.raises(ControlRefused) as refused:
        await asyncio.to_thread(Client(viewer.url).get, Status, "/v1/status")
    assert refused.value.details.status == 401


async def _closing(place: Workplace) -> None:
    ask, api = place.ask, place.api
    canister = SessionFilter(canister=str(place.house.ids["v2"]))
    counted = await ask(api.post, Closed, "/v1/sessions/close", CloseRequest(filter=canister, dry_run=True))
    assert (counted.matched, counted.closed) == (2, 0)
    closed = await ask(api.post, Closed, "/v1/sessions/close", CloseRequest(filter=canister))
    assert (closed.matched, closed.closed) == (2, 2)
    drain = await ask(api.post, Drain, "/v1/drain", DrainRequest(rate=50))
    assert drain.rate == pytest.approx(50)
    assert (await ask(api.health, "/readyz")).status == "failing"
    await ask(api.ask, Drain, "DELETE", "/v1/drain")
    assert (await ask(api.health, "/readyz")).status == "ok"
