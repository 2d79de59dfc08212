"""Programs that ask for health and metrics, each in its own way, at every socket that answers."""

import asyncio
from collections.abc import Callable

import pytest

from tests.control.plane import Plane
from tests.deploy.programs import output
from tests.gateway.bench import until

PATHS = ("/livez", "/readyz", "/startupz")
Tool = Callable[[str], str]


def clients_url(plane: Plane) -> str:
    return plane.control.listener.url.replace("ws://", "http://")


@pytest.mark.parametrize("path", PATHS)
async def test_wget_spider(plane: Plane, tool: Tool, path: str) -> None:
    """It sends HEAD."""
    code, said = await output(tool("wget"), "--spider", "--tries=1", "--no-proxy", clients_url(plane) + path)
    assert (code, "200 OK" in said) == (0, True), said


@pytest.mark.parametrize("options", [[], ["--head"], ["--http1.0"], ["--http1.0", "-H", "Host:"], ["-H", "Host: any"]])
@pytest.mark.parametrize("path", PATHS)
async def test_curl_at_both_sockets(plane: Plane, tool: Tool, path: str, options: list[str]) -> None:
    everywhere = [tool("curl"), "--silent", "--show-error", "--fail", "--noproxy", "*", *options]
    socket = plane.control.url.removeprefix("unix:")
    for where in ([clients_url(plane) + path], ["--unix-socket", socket, f"http://gateway{path}"]):
        code, said = await output(*everywhere, *where)
        assert code == 0, said
        assert "200 OK" in said or said.strip() == '{"status":"ok"}'


async def test_a_gateway_that_is_not_ready_says_so_and_lives(plane: Plane, tool: Tool) -> None:
    plane.gateway.stopping = True
    command = [tool("curl"), "--silent", "--noproxy", "*", "--output", "/dev/null", "--write-out", "%{http_code}"]
    assert await output(*command, clients_url(plane) + "/readyz") == (0, "503")
    assert await output(*command, clients_url(plane) + "/livez") == (0, "200")
    plane.gateway.stopping = False


async def test_health_counts_as_no_refusal_and_another_method_does(plane: Plane, tool: Tool) -> None:
    command = [tool("curl"), "--silent", "--noproxy", "*", clients_url(plane) + "/livez"]
    await output(*command)
    assert not plane.control.listener.refusals.rejected
    _, said = await output(*command, "-X", "POST", "--include")
    assert "405 Method Not Allowed" in said
    assert "Allow: GET, HEAD" in said
    assert plane.control.listener.refusals.rejected == {"method": 1}


async def test_documented_commands_get_metrics(plane: Plane, tool: Tool) -> None:
    curl = [tool("curl"), "--silent", "--fail", "--noproxy", "*"]
    socket = plane.control.url.removeprefix("unix:")
    for where in (["--unix-socket", socket, "http://localhost/metrics"], [f"{plane.control.metrics_url}/metrics"]):
        code, said = await output(*curl, *where)
        assert code == 0
        assert "icws_info{" in said


async def test_no_half_request_keeps_a_monitor_waiting(plane: Plane) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.control.listener.port)
    writer.write(b"GET /livez HTTP/1.0\r\n\r\nGET /livez HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    writer.close()
    await until(lambda: not len(plane.control.listener))
