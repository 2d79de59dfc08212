"""Plugins in a whole service: what they hear, and what becomes of those that cannot be loaded."""

import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from appliance.config.schema import Log
from appliance.config.source import Source, start
from appliance.errors import ConfigError
from appliance.log import Logging
from appliance.service import operating
from tests.gateway.bench import until
from tests.test_service import House, house

AUDIT_LOG = Path(__file__).resolve().parents[2] / "plugins" / "audit_log.py"
REFUSES = (
    "from appliance.plugins import Refusal, hook\n\n@hook\ndef admit(visit):\n    return Refusal('closed today')\n"
)


def with_log(file: Path) -> str:
    return f"plugins: [{{path: {AUDIT_LOG}, config: {{file: {file}}}}}]"


def reloads(file: Path) -> list[tuple[str, int | None]]:
    lines = map(json.loads, file.read_text().splitlines())
    return [(line["kind"], line.get("generation")) for line in lines]


async def test_what_people_do_is_heard_after_a_reload_brought_the_plugin(tmp_path):
    file = tmp_path / "audit.jsonl"
    async with house(tmp_path) as it:
        assert it.service.gateway.hooks.event is None
        it.write(with_log(file))
        assert await it.reload()
        it.write(with_log(file) + "\npolling: {max_interval: 2s}")
        assert await it.reload()
        generation = it.control.reloads.revision
        await until(lambda: ("reload", generation) in reloads(file))
        it.write("")
        assert await it.reload()
        assert it.service.gateway.hooks.event is None
    assert ("reload", generation + 1) not in reloads(file)


async def test_a_plugin_decides_from_the_reload_on_that_brings_it_until_the_one_that_takes_it(tmp_path):
    (tmp_path / "door.py").write_text(REFUSES)
    async with house(tmp_path) as it:
        assert await status(it) == 101
        it.write("plugins: [{path: door.py, timeout: 10s}]")
        assert await it.reload()
        assert await status(it) == 403
        (tmp_path / "door.py").write_text(REFUSES.replace("Refusal('closed today')", "None"))
        assert await it.reload()  # the same configuration, another file
        assert await status(it) == 101


async def test_a_plugin_that_cannot_be_loaded_keeps_what_runs_and_its_place_is_named(tmp_path):
    async with house(tmp_path) as it:
        it.write("plugins:\n  - {path: none.py}")
        with capture_logs():
            assert not await it.reload()
        problem = it.control.reloads.last.problem
        assert problem is not None
        line = it.file.read_text().splitlines().index("  - {path: none.py}") + 1
        column = "  - {path: none.py}".index("none") + 1
        sentence = f"{tmp_path / 'none.py'} cannot be read: No such file or directory"
        assert problem == f"{it.file}:{line}:{column}: plugins[none].path: {sentence}"
        assert it.service.gateway.hooks.admit is None


async def test_a_start_with_a_plugin_that_cannot_be_loaded_names_its_place(tmp_path):
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "gateway: {listen: '127.0.0.1:0'}\nnetwork: {url: 'http://127.0.0.1:9'}\n"
        f"control: {{listen: null, history: null}}\nplugins:\n  - path: {AUDIT_LOG}\n    config: {{fil: /x}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        async with operating(start(Source(file)), Logging(Log(level="error"))):
            pass
    assert [str(problem) for problem in caught.value.problems] == [
        f"{file}:6:13: plugins[audit_log].config.file: is missing, and has no default; write it",
        f"{file}:6:13: plugins[audit_log].config.fil: unknown key; did you mean 'file'?",
    ]


async def status(it: House) -> int:
    """The HTTP status of an upgrade."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    try:
        async with connect(it.service.url, compression=None):
            return 101
    except InvalidStatus as error:
        return error.response.status_code
