"""Typical mistakes of programs that use the API: each answer names the place, the thing and the way out."""

from typing import Any

import pytest

from tests.control.plane import Plane

APPLY = "/v1/config/apply"
MISTAKES: list[tuple[str, dict[str, Any], int, str]] = [
    (APPLY, {"text": "gateway: {listn: 'a:1'}\n"}, 422, "text:1:11: gateway.listn: unknown key; did you mean 'listen'"),
    (
        APPLY,
        {"text": "gateway:\n  origins: *\n"},
        422,
        "gateway.origins: * has a meaning of its own in YAML",
    ),
    (
        APPLY,
        {"text": "log: {level: debug}\n"},
        409,
        "needs a restart; restart the gateway, or allow the change",
    ),
    (APPLY, {"txt": "log: {level: debug}\n"}, 422, "txt"),
    (APPLY, {"save": True, "confirm_within_s": 5}, 422, "save: a configuration on trial is saved when it is confirmed"),
    ("/v1/config/rollback", {"generation": 99}, 404, "revision 99 of the configuration is not in the history"),
    ("/v1/config/confirm", {}, 409, "no configuration is waiting for confirmation; was it rolled back already?"),
]


@pytest.mark.parametrize(("path", "body", "status", "message"), MISTAKES)
async def test_a_mistake_in_a_request(plane: Plane, path: str, body: dict[str, Any], status: int, message: str) -> None:
    response = await plane.http.post(path, json=body)
    assert response.status_code == status
    assert message in response.json()["detail"]


async def test_what_cannot_run_is_refused_by_plan_and_apply_alike(plane: Plane) -> None:
    line = plane.file.read_text().count("\n") + 1
    text = f"{plane.file.read_text()}plugins: [{{path: /none.py}}]\n"
    planned = await plane.post("/v1/config/plan", {"text": text})
    applied = await plane.http.post(APPLY, json={"text": text})
    assert planned["refused"]["detail"] == applied.json()["detail"]
    assert applied.json()["detail"].startswith(f"text:{line}:18: plugins[none].path: /none.py cannot be read")
