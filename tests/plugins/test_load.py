"""Plugins from real files and modules."""

import asyncio
import sys
import threading
from textwrap import dedent

import pytest
from structlog.testing import capture_logs

from appliance.config.files import digest_of
from appliance.config.schema import Plugin as Entry
from appliance.errors import ConfigError, PluginUnavailable, RefusedByPlugin
from appliance.gateway.hooks import Visit
from appliance.plugins import load as module
from appliance.plugins.load import load
from tests.gateway.bench import until

VISIT = Visit("192.0.2.1", "/", {"user-agent": "browser"}, "v2", None)

LONG_S = 10.0
"""A hook is not slow because the machine is busy: the longest that the schema allows."""

FUNCTIONS = """
    from appliance.plugins import Refusal, hook

    @hook
    def admit(visit):
        return Refusal(f"not from {visit.address}")
"""
CLASS = """
    import threading
    from appliance.plugins import Refusal, Section, hook

    class Settings(Section):
        words: list[str] = []
        at_least: int = 1

    class Plugin:
        Settings = Settings

        def __init__(self, settings):
            self.settings = settings
            self.thread = threading.current_thread()

        @hook
        def admit(self, visit):
            same = self.thread is threading.current_thread() is not threading.main_thread()
            return Refusal(f"{' '.join(self.settings.words)} {same}")

        @hook
        def stop(self):
            raise RuntimeError("stopped: " + " ".join(self.settings.words))
"""


@pytest.fixture
def plugin(tmp_path):
    """Writes a plugin and makes its entry."""

    def write(source: str, **settings: object) -> Entry:
        path = tmp_path / "polite.py"
        path.write_text(dedent(source))
        return Entry(path=path, timeout=LONG_S, **settings)

    return write


async def problems(entry: Entry) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        await load(entry)
    assert {problem.place for problem in caught.value.problems} == {""}  # the configuration knows it
    return [f"{problem.key}: {problem.problem}".replace(str(entry.path), "FILE") for problem in caught.value.problems]


async def refusal(entry: Entry) -> str:
    """What the hook ``admit`` says."""
    loaded = await load(entry)
    try:
        with pytest.raises(RefusedByPlugin) as caught:
            await loaded.guards["admit"].decide(visit=VISIT)
    finally:
        with capture_logs():
            await loaded.stop()
    return str(caught.value)


async def test_functions_of_a_file(plugin):
    assert await refusal(plugin(FUNCTIONS)) == "not from 192.0.2.1"


async def test_a_class_with_settings_lives_in_one_thread(plugin):
    entry = plugin(CLASS, config={"words": ["good", "bye"]})
    assert await refusal(entry) == "good bye True"
    loaded = await load(entry)
    with capture_logs() as logs:
        await loaded.stop()
    assert [(line["event"], str(line["exc_info"])) for line in logs] == [
        ("a plugin failed to stop", "stopped: good bye")
    ]
    assert list(loaded.guards) == ["admit"]


async def test_a_hook_takes_the_arguments_it_wants(plugin):
    source = "from appliance.plugins import Refusal, hook\n@hook\ndef admit():\n    return Refusal('nobody')\n"
    assert await refusal(plugin(source)) == "nobody"


async def test_a_hook_that_is_set_to_none_is_not_wanted(plugin):
    source = CLASS.replace("self.thread =", "self.close = None; self.thread =")
    source += "\n        @hook\n        def close(self, who, ending): pass\n"
    loaded = await load(plugin(source))
    assert list(loaded.guards) == ["admit"]
    with capture_logs():
        await loaded.stop()


async def test_a_file_is_read_again_each_time(plugin):
    first = plugin(FUNCTIONS)
    digest = digest_of(first.path)
    assert await refusal(first) == "not from 192.0.2.1"
    second = plugin(FUNCTIONS.replace("not from", "no! from"))  # the same size, within the same second
    assert await refusal(second) == "no! from 192.0.2.1"
    assert digest_of(second.path) != digest
    assert digest_of(second.path.parent / "none.py") is None


async def test_an_installed_module(tmp_path, monkeypatch):
    (tmp_path / "polite_but_installed.py").write_text(dedent(FUNCTIONS))
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert await refusal(Entry(module="polite_but_installed", timeout=LONG_S)) == "not from 192.0.2.1"
    finally:
        sys.modules.pop("polite_but_installed", None)


async def test_an_entry_point_goes_before_a_module(tmp_path, monkeypatch):
    (tmp_path / "polite_package.py").write_text(dedent(CLASS))
    folder = tmp_path / "polite-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: polite\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[icws.plugins]\npolite = polite_package:Plugin\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert await refusal(Entry(module="polite", timeout=LONG_S, config={"words": ["hello"]})) == "hello True"
    finally:
        sys.modules.pop("polite_package", None)


@pytest.mark.parametrize(
    ("source", "config", "says"),
    [
        ("x = ", {}, ["plugins[polite]: FILE:1: this is not Python: invalid syntax"]),
        ("import no_such_module", {}, ["plugins[polite]: FILE: ModuleNotFoundError: No module named 'no_such_module'"]),
        ("raise SystemExit(3)", {}, ["plugins[polite]: FILE: RuntimeError: SystemExit(3)"]),
        (
            "x = 1",
            {},
            [
                "plugins[polite]: has no hook; there are admit, open, client_message, canister_message, close, event",
            ],
        ),
        (FUNCTIONS, {"a": 1}, ["plugins[polite].config: has no Settings, so it takes no configuration"]),
        (
            CLASS,
            {"word": [], "at_least": "x"},
            [
                "plugins[polite].config.at_least: must be a whole number, not 'x'",
                "plugins[polite].config.word: unknown key; did you mean 'words'?",
            ],
        ),
        (CLASS, {"zzzz": 1}, ["plugins[polite].config.zzzz: unknown key; known here are words, at_least"]),
        (
            FUNCTIONS.replace("def admit", "async def admit"),
            {},
            [
                "plugins[polite]: admit is a coroutine function; a hook is a plain one, which may block in its "
                "plugin's thread",
            ],
        ),
        (
            CLASS.replace("self.thread =", "raise OSError('no such folder');"),
            {},
            ["plugins[polite]: FILE: OSError: no such folder"],
        ),
    ],
)
async def test_what_cannot_be_loaded_is_named(plugin, source, config, says):
    assert await problems(plugin(source, config=config)) == says


@pytest.mark.parametrize(("name", "says"), [("admitt", "unknown hook 'admitt'"), ("admit", "'visitor'")])
async def test_hooks_and_arguments_that_do_not_exist_are_named(plugin, name, says):
    source = f"from appliance.plugins import hook\n@hook\ndef {name}(visitor): pass\n@hook\ndef close(): pass\n"
    [problem] = await problems(plugin(source))
    assert problem.startswith("plugins[polite]: ")
    assert says in problem


async def test_a_file_or_module_that_is_not_there(tmp_path):
    [problem] = await problems(Entry(path=tmp_path / "none.py"))
    assert problem == "plugins[none].path: FILE cannot be read: No such file or directory"
    assert await problems(Entry(module="no.such")) == [
        "plugins[such]: no.such: ModuleNotFoundError: No module named 'no'"
    ]


async def test_code_that_does_not_come_to_an_end_is_left_behind(plugin, monkeypatch):
    monkeypatch.setattr(module, "LOAD_S", 0.01)
    monkeypatch.setattr(threading, "gate", threading.Event(), raising=False)
    assert await problems(plugin("import threading\nthreading.gate.wait()")) == [
        "plugins[polite]: does not load within 0.01 s"
    ]
    threading.gate.set()


async def test_a_plugin_that_hangs_is_left_behind(plugin, monkeypatch):
    monkeypatch.setattr(module, "STOP_S", 0.01)
    monkeypatch.setattr(threading, "gate", threading.Event(), raising=False)
    source = "import threading\nfrom appliance.plugins import hook\n@hook\ndef event(): threading.gate.wait()\n"
    loaded = await load(plugin(source))
    loaded.guards["event"].notify(event=None)
    with capture_logs() as logs:
        await loaded.stop()
    assert [line["event"] for line in logs] == ["a plugin does not stop"]
    threading.gate.set()


async def test_a_stop_that_is_cancelled_ends_the_thread(plugin, monkeypatch):
    monkeypatch.setattr(threading, "gate", threading.Event(), raising=False)
    source = "import threading\nfrom appliance.plugins import hook\n@hook\ndef event(): threading.gate.wait()\n"
    loaded = await load(plugin(source))
    loaded.guards["event"].notify(event=None)
    stopping = asyncio.create_task(loaded.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    threading.gate.set()
    await until(lambda: not loaded._worker.is_alive)


BROKEN = """
from appliance.plugins import hook

{required}

def broken(**facts):
    raise ValueError("oops")

@hook
def admit(visit): broken()

@hook
def open(who): broken()

@hook
def client_message(who, message): broken()
"""


@pytest.mark.parametrize(
    ("required", "refusing"),
    [
        ("", {"admit", "open"}),
        ("required = True", {"admit", "open", "client_message"}),
        ("required = False", set()),
    ],
)
async def test_hooks_that_decide_about_access_refuse_when_they_fail_unless_the_plugin_says_otherwise(
    plugin, required, refusing
):
    loaded, found = await load(plugin(BROKEN.format(required=required))), set()
    try:
        for name, facts in (("admit", ["visit"]), ("open", ["who"]), ("client_message", ["who", "message"])):
            try:
                await loaded.guards[name].decide(**dict.fromkeys(facts))
            except PluginUnavailable:
                found.add(name)
    finally:
        await loaded.stop()
    assert found == refusing
