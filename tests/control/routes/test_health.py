from tests.control.plane import Plane

CHECKS = ["accepting", "clock", "ic", "identity", "listener", "loop", "polling", "root_key", "started", "tls"]


async def test_nobody_needs_a_token_to_ask(tcp: Plane) -> None:
    async with tcp.client() as http:
        for path in ("/livez", "/readyz", "/startupz"):
            response = await http.get(path)
            assert (response.status_code, response.json()) == (200, {"status": "ok"})


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
