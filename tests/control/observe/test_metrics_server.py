import asyncio
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import structlog

from appliance.config.fields.address import TcpAddress, UnixAddress
from appliance.control.observe.metrics_server import METRICS_TYPE, MetricsServer
from tests.control.plane import client, running
from tests.gateway.bench import until

HERE = TcpAddress("127.0.0.1", 0)


def metrics() -> bytes:
    return b"icws_connections 1\n"


async def test_it_has_metrics_for_whoever_comes_and_nothing_else() -> None:
    async with MetricsServer(metrics, HERE) as server, client(server.url, Host="any.example") as http:
        response = await http.get("/metrics")
        assert (response.status_code, response.content) == (200, metrics())
        assert response.headers["content-type"] == METRICS_TYPE
        head = await http.head("/metrics")
        assert (head.status_code, head.content) == (200, b"")
        assert (await http.post("/metrics")).status_code == 405
        for path in ("/v1/status", "/readyz", "/metrics/x"):
            assert (await http.get(path)).status_code == 404
        assert server.problem() is None


async def test_a_taken_port_is_a_problem_until_it_is_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with structlog.testing.capture_logs() as lines:
            server = await MetricsServer(metrics, TcpAddress("127.0.0.1", port), retry_s=0).__aenter__()
            await asyncio.sleep(0)
        assert "metrics.listen: cannot serve the metrics at" in str(server.problem())
        assert server.url == ""
    await until(lambda: server.problem() is None)
    async with client(server.url) as http:
        assert (await http.get("/metrics")).is_success
    await server.__aexit__()
    assert [line["log_level"] for line in lines if line["event"] == "metrics are not served"] == ["error"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_unix_socket_is_for_everybody_who_reaches_it() -> None:
    with TemporaryDirectory(prefix="icws") as folder:
        path = Path(folder) / "metrics.sock"
        async with MetricsServer(metrics, UnixAddress(path)) as server, client(server.url) as http:
            assert (await http.get("/metrics")).is_success
            assert path.stat().st_mode & 0o777 == 0o666
        assert not path.exists()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "unix:metrics.sock"])
async def test_a_gateway_serves_them_where_it_is_told(listen: str) -> None:
    async with running(more=f"metrics:\n  listen: {listen}\n") as plane:
        async with client(plane.control.metrics_url) as http:
            assert b"icws_info{" in (await http.get("/metrics")).content
        assert (await plane.get("/v1/status"))["problems"] == []


async def test_a_gateway_runs_without_them_and_shows_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        async with running(more=f"metrics:\n  listen: 127.0.0.1:{taken.getsockname()[1]}\n") as plane:
            (problem,) = (await plane.get("/v1/status"))["problems"]
            assert "metrics.listen: cannot serve the metrics at 127.0.0.1:" in problem
            async with plane.connect() as session:
                await session.receive()
