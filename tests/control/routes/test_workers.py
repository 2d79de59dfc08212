"""The workers, as one process sees them; ``tests/supervisor`` has those that are some."""

from tests.control.plane import Plane


async def test_a_gateway_of_one_process_has_none_and_restarts_none(plane: Plane) -> None:
    assert (await plane.get("/v1/workers"))["items"] == []
    refused = await plane.http.post("/v1/workers/restart")
    assert (refused.status_code, refused.json()["detail"]) == (409, "this gateway is one process; gateway.workers is 1")
    assert (await plane.get("/v1/audit"))["items"] == []


async def test_a_worker_has_in_its_audit_log_who_restarts_the_workers(plane: Plane) -> None:
    plane.control.is_worker = True
    assert (await plane.http.post("/v1/workers/restart")).status_code == 200
    (entry,) = (await plane.get("/v1/audit"))["items"]
    assert (entry["action"], entry["role"], entry["status"]) == ("restartWorkers", "admin", 200)
