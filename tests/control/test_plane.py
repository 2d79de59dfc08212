"""The control plane put together: where it is served, what it writes down, and what it leaves behind."""

import asyncio
import os
import stat

import pytest

from tests.control.plane import SECRETS, client, running
from tests.gateway.bench import until


async def test_it_leaves_nothing_behind() -> None:
    async with running() as plane:
        served = plane.control.url.removeprefix("unix:")
        assert stat.S_ISSOCK(os.stat(served).st_mode)
        async with plane.connect():
            pass
    with pytest.raises(FileNotFoundError):
        os.stat(served)
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})


async def test_it_may_be_served_nowhere() -> None:
    async with running(edit=lambda text: text.replace("listen: unix:control.sock", "listen: null")) as plane:
        assert plane.control.url == ""
        assert not list(plane.file.parent.glob("*.sock"))
        assert (await plane.control.health.ready()).status == "ok"
        async with plane.connect():
            pass


async def test_it_may_be_served_at_several_addresses() -> None:
    several = "listen: [unix:control.sock, 127.0.0.1:0]\n  mode: 600"
    async with running(edit=lambda text: text.replace("listen: unix:control.sock", several)) as plane:
        over_unix, over_tcp = plane.control.urls
        assert plane.control.url == over_unix
        assert os.stat(over_unix.removeprefix("unix:")).st_mode & 0o777 == 0o600
        async with client(over_tcp) as http:
            assert (await http.get("/v1/status")).status_code == 401
        async with client(over_tcp, SECRETS["viewer"]) as http:
            assert (await http.get("/v1/whoami")).json()["name"] == "token:viewer"
        assert (await plane.get("/v1/whoami"))["role"] == "admin"
    with pytest.raises(FileNotFoundError):
        os.stat(over_unix.removeprefix("unix:"))


async def test_without_a_folder_the_audit_log_is_in_memory() -> None:
    async with running(edit=lambda text: text.replace("  tokens:", "  history: null\n  tokens:")) as plane:
        await plane.http.put("/v1/log", json={"level": "error"})
        assert [entry["action"] for entry in (await plane.get("/v1/audit"))["items"]] == ["setLog"]
        assert not list(plane.file.parent.rglob("audit.jsonl"))


async def test_the_page_is_served_to_whoever_comes_and_nothing_else_is() -> None:
    async with running(tcp=True) as plane, plane.client() as http:
        response = await http.get("/")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/html")
        assert "default-src" in response.headers["content-security-policy"]
        assert (await http.get("/v1/status")).status_code == 401
        assert (await http.get("/static/../../plane.py")).status_code == 404


async def test_it_answers_while_the_gateway_is_drained_for_its_end() -> None:
    async with running() as plane, plane.connect():
        plane.gateway.begin_stop()
        status = await plane.get("/v1/status")
        assert (status["stopping"], status["sessions"]) == (True, 1)
        assert (await plane.http.get("/readyz")).status_code == 503
