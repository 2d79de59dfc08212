"""The supervisor around its workers. These are servers at real sockets."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.config.history import hash_of
from appliance.config.source import Source, start
from appliance.control.health.systemd import Notifier
from appliance.supervisor.serve import _folder, _Service
from tests.supervisor.control.test_changes import Supervised, supervised

APPLY = "/v1/config/apply"


def service_of(folder: Path, it: Supervised, text: str) -> _Service:
    """With this file, which the first worker runs."""
    file = folder / "gateway.yaml"
    file.write_text(text)
    shows(it, text)
    return _Service(start(Source(file)), it, Notifier())  # type: ignore[arg-type]


def shows(it: Supervised, text: str, *, confirm_by: str | None = None) -> None:
    it.workers[0].runs = {"text": text, "hash": hash_of(text), "confirm_by": confirm_by}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - of another task
            await asyncio.sleep(0.01)


def text_with(seconds: int) -> str:
    """Of a configuration that the supervisor can be seen to use."""
    return f"version: 1\nwatch: true\ndrain: {{grace: {seconds}s}}\ncontrol: {{history: null}}\n"


async def test_the_supervisor_uses_what_the_workers_run_and_not_what_is_in_the_file(tmp_path: Path) -> None:
    async with supervised(tmp_path, 1) as (it, _, _):
        service = service_of(tmp_path, it, text_with(1))
        before_s = service._stop_s()
        shows(it, text_with(8))  # applied and not saved
        await service._follow()
        assert service._stop_s() - before_s == 7
        shows(it, text_with(1))
        (tmp_path / "gateway.yaml").write_text(text_with(8))  # saved, and then rolled back
        await service._follow()
        assert service._stop_s() == before_s
        it.workers[0].hangs_up = True
        await service._follow()
        assert service._stop_s() == before_s


@pytest.mark.parametrize("is_judged", [False, True])
async def test_a_watched_change_during_a_trial_is_made_after_it_unless_the_trial_was_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_judged: bool
) -> None:
    reloads: list[str] = []
    has_looked = asyncio.Event()

    async def reload(self: _Service, trigger: str, original: Any = _Service._reload) -> bool:
        reloads.append(trigger)
        return bool(await original(self, trigger))

    async def file_hash(self: _Service, original: Any = _Service._file_hash) -> str | None:
        found = await original(self)
        has_looked.set()
        return str(found)

    monkeypatch.setattr(_Service, "_reload", reload)
    monkeypatch.setattr(_Service, "_file_hash", file_hash)
    async with supervised(tmp_path, 1) as (it, _, _):
        worker, file = it.workers[0], tmp_path / "gateway.yaml"
        service = service_of(tmp_path, it, text_with(1))
        shows(it, text_with(8), confirm_by="2030-01-01T00:00:00Z")
        await service._follow()
        worker.status, worker.answer = 409, {"detail": "on trial"}
        assert service._watched is not None
        watching = asyncio.ensure_future(service._watch(service._watched))
        file.write_text(text_with(8 if is_judged else 9))
        await until(lambda: worker.paths.count(APPLY) == 1)
        shows(it, text_with(1))
        worker.status = 200
        await service._follow()
        await has_looked.wait()
        assert reloads == ["watch"] * (1 if is_judged else 2)
        watching.cancel()


def test_the_sockets_of_the_workers_are_in_the_runtime_directory_of_the_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", f"{tmp_path}:/run/another")
    with _folder() as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_without_a_unit_they_are_where_temporary_files_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    with _folder() as folder:
        assert folder.is_dir()
    assert not folder.exists()
