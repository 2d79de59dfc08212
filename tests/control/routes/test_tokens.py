import asyncio

from tests.control.plane import Plane


async def test_a_token_is_made_shown_once_and_ended(tcp: Plane) -> None:
    made = await tcp.http.post("/v1/tokens", json={"name": "grafana", "role": "viewer"})
    assert made.status_code == 201
    token = made.json()["token"]
    assert {"name": "grafana", "role": "viewer"} in (await tcp.get("/v1/tokens"))["items"]
    async with tcp.client(token) as http:
        assert (await http.get("/v1/whoami")).json() == {"name": "token:grafana", "role": "viewer"}
        assert tcp.read(await tcp.http.delete("/v1/tokens/grafana")) == {"name": "grafana", "role": "viewer"}
        assert (await http.get("/v1/whoami")).status_code == 401
    told = (await tcp.http.get("/v1/tokens")).text + (await tcp.http.get("/v1/audit")).text
    assert token not in told + (tcp.file.parent / "tokens").read_text()
    removed, added = (await tcp.get("/v1/audit"))["items"]
    assert (added["action"], added["target"], added["after"]) == ("addToken", "grafana", "viewer")
    assert (removed["action"], removed["target"], removed["before"]) == ("removeToken", "grafana", "viewer")


async def test_names_are_taken_once_and_have_to_be_there(tcp: Plane) -> None:
    response = await tcp.http.post("/v1/tokens", json={"name": "viewer", "role": "admin"})
    assert response.status_code == 409
    assert (await tcp.http.delete("/v1/tokens/nobody")).status_code == 404
    assert (await tcp.http.delete("/v1/tokens/-")).status_code == 422
    for body in ({"name": "a b", "role": "viewer"}, {"name": "a", "role": "root"}, {"name": "a"}):
        assert (await tcp.http.post("/v1/tokens", json=body)).status_code == 422


async def test_who_removes_what_another_has_removed_meanwhile_is_told_so(tcp: Plane) -> None:
    await tcp.http.post("/v1/tokens", json={"name": "grafana", "role": "viewer"})
    answers = await asyncio.gather(*(tcp.http.delete("/v1/tokens/grafana") for _ in range(3)))
    assert sorted(each.status_code for each in answers) == [200, 404, 404]
    assert {each.json().get("detail") for each in answers} == {None, "there is no token named grafana"}


async def test_without_a_file_there_are_no_tokens_to_make(plane: Plane) -> None:
    text = plane.file.read_text().replace("  tokens: tokens\n", "")
    await plane.post("/v1/config/apply", {"text": text})
    response = await plane.http.post("/v1/tokens", json={"name": "grafana", "role": "viewer"})
    assert response.status_code == 409
    assert "control.tokens" in response.json()["detail"]
    assert await plane.get("/v1/tokens") == {"items": []}
