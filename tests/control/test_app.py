"""What holds for every operation, on real sockets."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from appliance.control.app import operations
from appliance.control.auth.tokens import ROLES
from appliance.control.routes.routing import EVERYBODY, MAX_BODY, ROLE, Operation
from appliance.gateway.sockets.http import HEALTH_PATHS
from tests.control.plane import SECRETS, Plane
from tests.gateway.bench import until

NAMES = [
    "addCanister",
    "addToken",
    "applyConfig",
    "cancelDrain",
    "closeSessions",
    "confirmConfig",
    "diffConfigHistory",
    "getAudit",
    "getCanister",
    "getConfig",
    "getConfigOfHistory",
    "getConfigSchema",
    "getDrain",
    "getIdentity",
    "getLimits",
    "getLive",
    "getLog",
    "getMetrics",
    "getNodes",
    "getReady",
    "getRecentStats",
    "getSession",
    "getStarted",
    "getStats",
    "getStatus",
    "getStory",
    "getWhoAmI",
    "getWorkers",
    "listCanisters",
    "listConfigHistory",
    "listPlugins",
    "listRefusals",
    "listSessions",
    "listStories",
    "listTokens",
    "listenToEvents",
    "pauseCanister",
    "planConfig",
    "removeCanister",
    "removeToken",
    "restartWorkers",
    "resumeCanister",
    "rollBackConfig",
    "setLog",
    "startDrain",
]
"""Programs are generated from these: they stay."""

OPERATIONS = sorted(operations(), key=lambda operation: str(operation.operation_id))


def role_of(operation: Operation) -> str:
    return str((operation.openapi_extra or {})[ROLE])


def way_of(operation: Operation) -> tuple[str, str]:
    """A method and a path with something in its place."""
    (method,) = operation.methods or ()
    path = operation.path
    for name, value in (("session", "0"), ("canister", "nobody"), ("generation", "1"), ("name", "nobody")):
        path = path.replace(f"{{{name}}}", value)
    return method, path


async def status_of(http: httpx.AsyncClient, operation: Operation) -> int:
    method, path = way_of(operation)
    async with http.stream(method, path) as response:  # one of them never ends
        return response.status_code


def test_every_operation_has_its_name() -> None:
    assert [operation.operation_id for operation in OPERATIONS] == NAMES


def test_reading_is_for_viewers_and_changing_is_not() -> None:
    for operation in OPERATIONS:
        is_view = operation.methods == {"GET"}
        assert role_of(operation) in ({*ROLES, EVERYBODY} if is_view else {"operator", "admin"}), operation.path
    open_to_all = {operation.path for operation in OPERATIONS if role_of(operation) == EVERYBODY}
    assert open_to_all == {"/livez", "/readyz", "/startupz"}


async def test_nobody_does_what_is_not_for_him(tcp: Plane) -> None:
    """Each operation without a token, with a wrong one, with each role that is too small, and with those that do."""
    told: dict[str, list[int]] = {str(operation.operation_id): [] for operation in OPERATIONS}
    for token in (None, "icws_wrong", *SECRETS.values()):
        async with tcp.client(token) as http:
            for operation in OPERATIONS:
                told[str(operation.operation_id)].append(await status_of(http, operation))
    for operation in OPERATIONS:
        nobody, wrong, *by_role = told[str(operation.operation_id)]
        if role_of(operation) == EVERYBODY:
            assert nobody == 200, operation.path
            assert wrong == (200 if operation.path in HEALTH_PATHS else 401), operation.path
            continue
        assert wrong == 401, operation.path
        assert nobody == 401, operation.path
        for role, status in zip(ROLES, by_role, strict=True):
            enough = ROLES.index(role) >= ROLES.index(role_of(operation))  # type: ignore[arg-type]
            assert (status not in (401, 403)) if enough else (status == 403), (operation.path, role, status)


async def test_whoever_is_refused_is_told_what_is_needed(tcp: Plane) -> None:
    async with tcp.client() as http:
        response = await http.get("/v1/status")
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert response.headers["content-type"] == "application/problem+json"
    async with tcp.client(SECRETS["viewer"]) as http:
        response = await http.post("/v1/config/apply", content=b"not even JSON")
        assert response.json() == {
            "type": "urn:icws:problem:role-too-small",
            "title": "The role of the sender does not allow this",
            "status": 403,
            "detail": "token:viewer is viewer, this needs admin",
            "instance": "/v1/config/apply",
        }
    entry = (await tcp.get("/v1/audit"))["items"][0]
    assert (entry["actor"], entry["action"], entry["status"]) == ("token:viewer", "applyConfig", 403)


async def test_looking_changes_nothing(plane: Plane) -> None:
    etag, listeners = plane.reloads.etag, len(plane.control.events)
    for operation in OPERATIONS:
        if operation.methods == {"GET"}:
            assert await status_of(plane.http, operation) in (200, 404), operation.path
    assert (await plane.get("/v1/audit"))["items"] == []
    assert plane.reloads.etag == etag
    await until(lambda: len(plane.control.events) == listeners)


async def test_a_path_says_which_methods_it_takes(plane: Plane) -> None:
    response = await plane.http.put("/v1/drain")
    assert response.status_code == 405
    assert response.headers["allow"] == "DELETE, GET, HEAD, POST"
    for operation in OPERATIONS:
        method, path = way_of(operation)
        response = await plane.http.patch(path)
        assert response.status_code == 405, path
        assert method in response.headers["allow"]
        assert response.json()["type"] == "urn:icws:problem:method-not-allowed"


async def test_what_is_not_there_is_a_problem_too(plane: Plane) -> None:
    for path in ("/nothing", "/v1", "/v1/status/", "/redoc", "/v1/sessions//story"):
        response = await plane.http.get(path)
        assert response.status_code == 404, path
        assert response.json()["type"] == "urn:icws:problem:not-found"
        assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "content_type", "status", "kind"),
    [
        (b"{", "application/json", 422, "invalid"),
        (b"[]", "application/json", 422, "invalid"),
        (b'{"level": NaN}', "application/json", 422, "invalid"),
        (b'{"level": "\\ud800"}', "application/json", 422, "invalid"),
        (b'{"level": "loud"}', "application/json", 422, "invalid"),
        (b'{"level": "info", "more": 1}', "application/json", 422, "invalid"),
        (b"[" * 100_000, "application/json", 422, "invalid"),
        (b"", "application/json", 422, "invalid"),
        (b'{"level": "info"}', "text/plain", 415, "not-json"),
        (b'{"level": "info"}', "application/x-www-form-urlencoded", 415, "not-json"),
        (b'{"level": "info"}', "", 415, "not-json"),
        (b" " * (MAX_BODY + 1), "application/json", 413, "body-too-large"),
        (b'{"level": "info"}', "application/json; charset=utf-8", 200, None),
        (b'{"level": "info"}' + b" " * (MAX_BODY - 17), "Application/JSON", 200, None),
    ],
)
async def test_a_body_is_json_of_a_bounded_size(
    plane: Plane, body: bytes, content_type: str, status: int, kind: str | None
) -> None:
    response = await plane.http.put("/v1/log", content=body, headers={"Content-Type": content_type})
    assert response.status_code == status
    if kind is not None:
        assert response.json()["type"] == f"urn:icws:problem:{kind}"


async def test_a_body_without_a_declared_size_is_bounded_too(plane: Plane) -> None:
    async def chunks() -> Any:
        for _ in range(MAX_BODY // 65536 + 1):
            yield b" " * 65536

    response = await plane.http.put("/v1/log", content=chunks(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413


async def test_a_body_that_does_not_come_is_not_waited_for(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.control.routes.routing.BODY_TIMEOUT_S", 0.05)

    reader, writer = await asyncio.open_unix_connection(plane.control.url.removeprefix("unix:"))
    head = ("PUT /v1/log HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Content-Length: 9", "", "{")
    writer.write("\r\n".join(head).encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_fault_is_told_by_its_place_and_key(plane: Plane) -> None:
    response = await plane.http.post("/v1/sessions/close", json={"filter": {"generation": "v9"}, "code": "4000"})
    found = response.json()
    assert [(fault["place"], fault["key"]) for fault in found["errors"]] == [
        ("body", "filter.generation"),
        ("body", "code"),
    ]
    assert found["detail"].endswith("(and 1 more)")


async def test_what_nobody_thought_of_is_told_without_its_details(plane: Plane) -> None:
    def broken() -> bytes:
        raise RuntimeError("a secret")

    plane.control.metrics = broken
    response = await plane.http.get("/metrics")
    assert response.status_code == 500
    assert response.json()["type"] == "urn:icws:problem:internal"
    assert "secret" not in response.text
    assert (await plane.http.get("/v1/status")).is_success


async def test_browsers_are_told_to_be_careful(plane: Plane) -> None:
    for path in ("/v1/status", "/nothing", "/livez", "/openapi.json"):
        response = await plane.http.get(path)
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert response.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert response.headers["cache-control"] == "no-store"


async def test_a_page_of_another_site_reaches_nothing(plane: Plane) -> None:
    async with plane.client(origin="http://evil.example") as http:
        assert (await http.post("/v1/drain", json={})).status_code == 403
    async with plane.client(host="evil.example") as http:
        assert (await http.get("/v1/status")).status_code == 421
    assert plane.gateway.drain is None


async def test_a_name_is_ours_when_the_configuration_says_so(plane: Plane) -> None:
    text = plane.file.read_text().replace("control:\n", "control:\n  hosts: [gw.example]\n")
    async with plane.client(host="gw.example") as http:
        assert (await http.get("/v1/status")).status_code == 421
        await plane.post("/v1/config/apply", {"text": text})
        assert (await http.get("/v1/status")).status_code == 200


async def test_the_description_is_whole(plane: Plane) -> None:
    found = await plane.get("/openapi.json")
    assert found["openapi"] == "3.1.0"
    described = {operation["operationId"]: operation for path in found["paths"].values() for operation in path.values()}
    assert sorted(described) == NAMES
    schemas = found["components"]["schemas"]
    for reference in json.dumps(found).split('"$ref":"')[1:]:
        assert reference.partition('"')[0].removeprefix("#/components/schemas/") in schemas
    for name, operation in described.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert {"200", "201"} & operation["responses"].keys(), name
        assert ("security" in operation) == (operation[ROLE] != EVERYBODY)
        for status, response in operation["responses"].items():
            if int(status) >= 400 and name not in ("getLive", "getReady", "getStarted"):
                content = response["content"]["application/problem+json"]
                assert all(example["value"]["status"] == int(status) for example in content["examples"].values())
        body = operation.get("requestBody")
        if body is not None:
            schema = body["content"]["application/json"]["schema"]
            reference = next(part for part in (schema, *schema.get("anyOf", [])) if "$ref" in part)["$ref"]
            assert schemas[reference.rpartition("/")[2]]["examples"], name
