"""The client at real gateways, and at what is no gateway."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from appliance.control.client import (
    Client,
    ConfigRefused,
    ControlRefused,
    ControlUnreachable,
    path_to,
)
from appliance.control.models import Applied, ApplyRequest, Canister, ConfigShown, Log, Sessions, Status
from appliance.errors import ConfigError, GatewayError
from tests.control.plane import SECRETS, Plane, running

T = TypeVar("T")


async def off_loop(function: Callable[..., T], *arguments: Any, **options: Any) -> T:
    return await asyncio.to_thread(function, *arguments, **options)


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with running() as found:
        yield found


@pytest.fixture
def asking(plane: Plane) -> Client:
    return Client(plane.control.url)


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that answers the first request so, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def http(status: str, kind: str, body: bytes, *, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


async def test_an_answer_is_a_model(plane: Plane, asking: Client):
    status = await off_loop(asking.get, Status, "/v1/status")
    assert status.gateway_principal == str(plane.gateway.principal)
    canister = await off_loop(asking.get, Canister, path_to("canisters", "chat"))
    assert canister.id == str(plane.canister_id)


async def test_a_query_leaves_out_what_is_none_and_repeats_lists(asking: Client):
    assert (await off_loop(asking.get, Sessions, "/v1/sessions", limit=1, client=None)).items == []
    events = asking.events(["reload", "audit"], after=0)
    assert await off_loop(asking.ask, Log, "PUT", "/v1/log", body=Log(level="error")) == Log(level="error")
    event = await off_loop(next, events)
    assert (event.kind, event.data["action"]) == ("audit", "setLog")
    await off_loop(events.close)


async def test_health_is_an_answer_also_where_it_is_bad(plane: Plane, asking: Client):
    assert (await off_loop(asking.health, "/readyz")).status == "ok"
    await plane.post("/v1/drain", {"grace_s": 600, "deadline_s": 1200})
    ready = await off_loop(asking.health, "/readyz")
    assert ready.status == "failing"
    assert [check.name for check in ready.checks or [] if not check.ok] == ["accepting"]
    await plane.http.delete("/v1/drain")


async def test_metrics_are_text(asking: Client):
    assert "\nicws_" in await off_loop(asking.text, "/metrics")


async def test_a_problem_is_an_exception_with_its_sentence(asking: Client):
    with pytest.raises(ControlRefused) as caught:
        await off_loop(asking.get, Canister, path_to("canisters", "a?c"))
    assert (caught.value.kind, caught.value.details.status) == ("not-found", 404)
    assert "a?c" in str(caught.value)
    assert isinstance(caught.value, GatewayError)


async def test_a_bad_configuration_is_a_config_error_with_every_fault(asking: Client):
    with pytest.raises(ConfigError) as caught:
        await off_loop(asking.post, Applied, "/v1/config/apply", ApplyRequest(text="log: {levl: 1}\npolling: 3\n"))
    assert isinstance(caught.value, ConfigRefused)
    assert [problem.key for problem in caught.value.problems] == ["log.levl", "polling"]
    assert str(caught.value).splitlines()[0] == "text:1:7: log.levl: unknown key; did you mean 'level'?"


async def test_faults_are_told_once(asking: Client):
    with pytest.raises(ControlRefused) as caught:
        await off_loop(asking.get, Sessions, "/v1/sessions", limit=0, min_age_s=-1)
    assert str(caught.value).splitlines() == [
        "min_age_s: input should be greater than or equal to 0",
        "limit: input should be greater than or equal to 1",
    ]


async def test_an_update_is_guarded_by_what_it_was_made_for(plane: Plane, asking: Client):
    shown = await off_loop(asking.get, ConfigShown, "/v1/config")
    text = plane.file.read_text().replace("5ms", "9ms")
    applied = await off_loop(asking.post, Applied, "/v1/config/apply", ApplyRequest(text=text), if_match=shown.etag)
    assert applied.generation == 2
    with pytest.raises(ControlRefused) as caught:
        await off_loop(asking.post, Applied, "/v1/config/apply", ApplyRequest(text=text), if_match=shown.etag)
    assert caught.value.kind == "etag-mismatch"


async def test_over_tcp_with_a_token():
    async with running(tcp=True) as plane:
        for role, secret in SECRETS.items():
            assert (await off_loop(Client(plane.control.url, secret).get, Status, "/v1/status")).generation == 1, role
        for token in (None, "wrong"):
            with pytest.raises(ControlRefused) as caught:
                await off_loop(Client(plane.control.url, token).get, Status, "/v1/status")
            assert caught.value.kind == "unauthorized"


async def test_a_stream_ends_when_the_gateway_does(plane: Plane, asking: Client):
    listening = asyncio.create_task(off_loop(lambda: [event.kind for event in asking.events(["reload"], after=0)]))
    while not len(plane.control.events):  # noqa: ASYNC110 - it comes by a thread
        await asyncio.sleep(0.005)
    plane.control.events.close()
    assert await listening == []


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "the connection was closed without an answer"),
        (b"SSH-2.0-x\r\n", "SSH-2.0-x"),
        (http("200 OK", "text/html", b"<html>"), "its answer is not a Status"),
        (http("200 OK", "application/json", b"{}"), "its answer is not a Status (version: Field required)"),
        (http("200 OK", "application/json", b"{", length=9), "the connection was closed within the answer"),
        (http("404 Not Found", "text/html", b"<h1>no  page</h1>" * 99), "HTTP 404 from something that is no gateway"),
        (http("500 Oops", "application/problem+json", b"[]"), "its answer is not a ProblemDetails"),
    ],
)
def test_what_is_no_gateway_is_told_apart(answer: bytes, problem: str):
    with answering(answer) as url, pytest.raises(ControlUnreachable) as caught:
        Client(url).get(Status, "/v1/status")
    assert str(caught.value).startswith(f"no gateway answers at {url}: ")
    assert problem in str(caught.value)
    assert len(str(caught.value)) < 500


def test_who_does_not_answer_in_time_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ControlUnreachable, match="no answer in time"):
            Client(url, timeout_s=0.01).get(Status, "/v1/status")


def test_a_socket_that_is_not_there_or_nobodys(tmp_path: Path):
    path = tmp_path / "x.sock"
    with pytest.raises(ControlUnreachable, match="there is no such socket; does the gateway run"):
        Client(f"unix:{path}").get(Status, "/v1/status")
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    with pytest.raises(ControlUnreachable, match="nobody listens there"):
        Client(f"unix:{path}").get(Status, "/v1/status")
    with pytest.raises(ControlUnreachable, match="too long"):
        Client(f"unix:/{'x' * 200}").get(Status, "/v1/status")


@pytest.mark.parametrize("url", ["", "localhost:80", "ftp://a", "http://", "http://a:b", "http://[::1"])
def test_what_is_no_place_is_refused(url: str):
    with pytest.raises(ControlUnreachable):
        Client(url).get(Status, "/v1/status")


def test_a_path_may_stand_before_those_of_the_api():
    """As behind a proxy."""
    with answering(http("200 OK", "application/json", b'{"level": "info"}')) as url:
        assert Client(f"{url}/icws/").get(Log, "/v1/log").level == "info"


def test_the_parts_of_a_path_are_what_they_are():
    assert path_to("canisters", "a/b?#", 3) == "/v1/canisters/a%2Fb%3F%23/3"


def test_the_client_needs_nothing_of_the_server():
    import subprocess
    import sys

    heavy = ("fastapi", "uvicorn", "aiohttp", "asyncio")
    script = f"import sys, appliance.control.client; print([m for m in {heavy} if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout  # noqa: S603
    assert output == "[]\n"
