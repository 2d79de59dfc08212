import asyncio

import pytest

from appliance.control.health.health import Finding, Health
from tests.control.plane import Plane

CHECKS = [
    *("accepting", "clock", "cluster", "ic", "identity", "listener"),
    *("loop", "polling", "root_key", "started", "tls"),
]


async def test_nobody_needs_a_token_to_ask(tcp: Plane) -> None:
    async with tcp.client() as http:
        for path in ("/livez", "/readyz", "/startupz"):
            response = await http.get(path)
            assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/startupz"])
async def test_any_host_and_head_will_do(tcp: Plane, plane: Plane, path: str) -> None:
    for each in (tcp, plane):
        for headers in ({"Host": "balancer.example"}, {"Host": ""}, {"Origin": "https://monitor.example"}):
            async with each.client(**headers) as http:
                assert (await http.get(path)).json() == {"status": "ok"}
                head = await http.head(path)
                assert (head.status_code, head.content) == (200, b"")
        async with each.client(Host="balancer.example") as http:
            assert (await http.get(f"{path}?verbose")).status_code == 421  # the details are not for any page
        async with each.client() as http:
            assert (await http.post(path)).headers["allow"] == "GET, HEAD"


async def test_http_1_0_without_a_host_is_answered(tcp: Plane) -> None:
    _, _, port = tcp.control.url.rpartition(":")
    for method, body in ((b"GET", b'{"status":"ok"}'), (b"HEAD", b"")):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
        writer.write(method + b" /readyz HTTP/1.0\r\n\r\n")
        head, _, sent = (await reader.read()).partition(b"\r\n\r\n")
        assert head.split(b" ", 2)[1] == b"200"
        assert sent == body
        writer.close()


async def test_head_is_for_whatever_can_be_read_to_its_end(plane: Plane) -> None:
    head = await plane.http.head("/v1/status")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 100
    assert (await plane.http.head("/v1/events")).status_code == 405


async def test_answers_to_monitors_are_made_once_in_a_while(plane: Plane) -> None:
    asked = []
    health = Health({"loop": lambda: asked.append(1) or Finding(True, "")}, {})
    assert await asyncio.gather(*(health.passes("/livez") for _ in range(50))) == [True] * 50
    assert len(asked) == 1


async def test_every_check_is_told_where_it_is_asked_for(plane: Plane) -> None:
    found = await plane.get("/readyz", verbose=True)
    assert sorted(check["name"] for check in found["checks"]) == CHECKS
    assert all(check["ok"] and check["detail"] for check in found["checks"])
    assert (await plane.http.get("/readyz?verbose")).json().keys() == found.keys()
    assert (await plane.http.get("/readyz?verbose=false")).json() == {"status": "ok"}
    assert (await plane.http.get("/readyz?verbose=perhaps")).status_code == 422


async def test_it_is_not_ready_before_it_has_started_and_while_it_stops(plane: Plane) -> None:
    plane.control.health.started = False
    for path, status in (("/livez", 200), ("/readyz", 503), ("/startupz", 503)):
        response = await plane.http.get(path)
        assert response.status_code == status
        assert response.headers["content-type"] == "application/json"
    plane.control.health.started = True
    plane.gateway.stopping = True
    response = await plane.http.get("/readyz?verbose=true")
    assert response.status_code == 503
    failing = [check for check in response.json()["checks"] if not check["ok"]]
    assert [(check["name"], check["detail"]) for check in failing] == [("accepting", "the gateway is stopping")]
    plane.gateway.stopping = False


async def test_it_is_not_ready_without_the_ic(plane: Plane) -> None:
    await plane.localnet.__aexit__(None, None, None)
    response = await plane.http.get("/readyz?verbose=true")
    assert response.status_code == 503
    failing = {check["name"]: check["detail"] for check in response.json()["checks"] if not check["ok"]}
    assert list(failing) == ["ic"]
    assert failing["ic"].startswith("the IC does not answer")
    assert (await plane.http.get("/livez")).status_code == 200


def test_a_watchdog_is_told_what_livez_says() -> None:
    for is_ok in (True, False):
        health = Health({"loop": lambda: Finding(True, ""), "progress": lambda ok=is_ok: Finding(ok, "")}, {})
        assert health.is_alive() is is_ok
