"""The set of plugins as it follows the configuration."""

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from appliance.config.schema import Config
from appliance.errors import ConfigError, PluginUnavailable, RefusedByPlugin
from appliance.gateway.hooks import CanisterMessage, ClientMessage, Ending, Happening, Hooks, Visit, Who
from appliance.plugins.breaker import BUDGET, FAILURE, FIRST_REST_S
from appliance.plugins.plugins import Plugins
from tests.gateway.bench import until

IN_A_ROW = BUDGET // FAILURE
VISIT = Visit("192.0.2.1", "/", {}, "v2", None)
WHO = Who("0badc0de", "192.0.2.1", "/", "v2", "aaaaa-aa", "2vxsx-fae")
ENDING = Ending(1000, "client", None, 1.5, 3)

SCRIBE = """
    from appliance.plugins import Refusal, Section, hook

    class Settings(Section):
        says: str = ""
        refuses: bool = False
        fails: bool = False

    class Plugin:
        Settings = Settings

        def __init__(self, settings):
            self.settings = settings
            LOG.append(settings.says + " made")

        def heard(self, what):
            LOG.append(self.settings.says + " " + what)
            if self.settings.fails:
                raise ValueError("oops")
            return Refusal(self.settings.says) if self.settings.refuses else None

        @hook
        def admit(self, visit):
            return self.heard("admit " + visit.address)

        @hook
        def close(self, who, ending):
            self.heard(f"close {who.session} {ending.code}")

        @hook
        def event(self, event):
            self.heard(f"event {event.kind} {dict(event.facts)} {event.at_ns}")

        @hook
        def stop(self):
            self.heard("stop")
"""
LISTENER = """
    from appliance.plugins import hook

    @hook
    def client_message(who, message):
        LOG.append(f"client {message.method}")

    @hook
    def open(who):
        LOG.append(f"open {who.client}")

    @hook
    def canister_message(who, message):
        LOG.append(f"canister {message.nonce}")
"""


class Bench:
    """A set of plugins that write down what they hear."""

    def __init__(self, folder: Path, log: list[str]) -> None:
        self.folder = folder
        self.log = log
        self.hooks = Hooks()
        self.now_s = 0.0
        self.plugins = Plugins(self.hooks, clock=lambda: self.now_s)

    def write(self, name: str, source: str) -> str:
        path = self.folder / name
        path.write_text("from sys import icws_test_log as LOG\n" + dedent(source))
        return str(path)

    def config(self, *plugins: dict[str, object]) -> Config:
        return Config.model_validate({"plugins": [{**plugin, "path": Path(str(plugin["path"]))} for plugin in plugins]})

    async def follow(self, *plugins: dict[str, object]) -> None:
        change = await self.plugins.prepare(self.config(*plugins))
        change.commit()
        await change.cleanup()

    def heard(self) -> list[str]:
        heard, self.log[:] = list(self.log), []
        return heard


@pytest.fixture
async def bench(tmp_path, monkeypatch):
    log: list[str] = []
    monkeypatch.setattr(sys, "icws_test_log", log, raising=False)
    it = Bench(tmp_path, log)
    yield it
    await it.plugins.stop()


def scribe(path: str, says: str, **config: object) -> dict[str, object]:
    return {"path": path, "name": says, "timeout": 10.0, "config": {"says": says, **config}}


async def test_without_plugins_no_hook_is_wanted(bench):
    await bench.follow()
    assert bench.hooks == Hooks()
    bench.plugins.publish(Happening("reload", 0))  # to nobody


async def test_only_the_hooks_that_a_plugin_has_are_wanted(bench):
    await bench.follow(scribe(bench.write("a.py", SCRIBE), "a"))
    wanted = {name for name in Hooks.__slots__ if getattr(bench.hooks, name) is not None}
    assert wanted == {"admit", "close", "event"}
    await bench.follow()
    assert bench.hooks == Hooks()


async def test_every_hook_reaches_the_plugins_that_want_it(bench):
    await bench.follow(
        scribe(bench.write("a.py", SCRIBE), "a"), {"path": bench.write("b.py", LISTENER), "timeout": 10.0}
    )
    await bench.hooks.admit(VISIT)
    await bench.hooks.open(WHO)
    await bench.hooks.client_message(WHO, ClientMessage("ws_message", b"", None))
    bench.hooks.canister_message(WHO, CanisterMessage(7, b""))
    bench.hooks.close(WHO, ENDING)
    bench.plugins.publish(Happening("reload", 5, {"generation": 2}))
    await bench.plugins.stop()
    assert sorted(bench.heard()) == [
        "a admit 192.0.2.1",
        "a close 0badc0de 1000",
        "a event reload {'generation': 2} 5",
        "a made",
        "a stop",
        "canister 7",
        "client ws_message",
        "open 2vxsx-fae",
    ]
    assert bench.hooks == Hooks()
    assert bench.plugins.states() == []


async def test_they_are_asked_in_the_order_of_the_file_until_one_refuses(bench):
    path = bench.write("a.py", SCRIBE)
    await bench.follow(scribe(path, "a"), scribe(path, "b", refuses=True), scribe(path, "c"))
    bench.heard()
    with pytest.raises(RefusedByPlugin, match="b"):
        await bench.hooks.admit(VISIT)
    assert bench.heard() == ["a admit 192.0.2.1", "b admit 192.0.2.1"]


async def test_what_did_not_change_goes_on_and_keeps_its_counts(bench):
    path = bench.write("a.py", SCRIBE)
    await bench.follow(scribe(path, "a"), scribe(path, "b"))
    await bench.hooks.admit(VISIT)
    bench.heard()
    await bench.follow(scribe(path, "c"), scribe(path, "a"))
    assert sorted(bench.heard()) == ["b stop", "c made"]
    assert [(state.name, state.calls) for state in bench.plugins.states()] == [("c", 0), ("a", 1)]


@pytest.mark.parametrize("change", ["config", "timeout", "file"])
async def test_what_changed_is_loaded_again(bench, change):
    path = bench.write("a.py", SCRIBE)
    entry = scribe(path, "a")
    await bench.follow(entry)
    if change == "file":
        bench.write("a.py", SCRIBE + "\n")
    elif change == "timeout":
        entry["timeout"] = 5.0
    else:
        entry["config"] = {"says": "a", "refuses": True}
    bench.heard()
    await bench.follow(entry)
    assert bench.heard() == ["a made", "a stop"]


async def test_a_plugin_that_cannot_be_loaded_changes_nothing_and_all_faults_are_named(bench):
    path = bench.write("a.py", SCRIBE)
    await bench.follow(scribe(path, "a"))
    before = bench.hooks.admit
    bench.heard()
    broken = bench.write("broken.py", "raise OSError('no')")
    with pytest.raises(ConfigError) as caught:
        await bench.plugins.prepare(
            bench.config({"path": broken, "name": "x"}, scribe(path, "fresh"), scribe(path, "b", sais=1))
        )
    assert [problem.key for problem in caught.value.problems] == ["plugins[x]", "plugins[b].config.sais"]
    assert bench.heard() == ["fresh made", "fresh stop"]
    assert bench.hooks.admit is before
    assert [state.name for state in bench.plugins.states()] == ["a"]


async def test_what_is_prepared_and_not_wanted_is_stopped(bench):
    path = bench.write("a.py", SCRIBE)
    await bench.follow(scribe(path, "a"))
    change = await bench.plugins.prepare(bench.config(scribe(path, "a"), scribe(path, "b")))
    bench.heard()
    await change.rollback()
    assert bench.heard() == ["b stop"]
    await bench.hooks.admit(VISIT)
    assert bench.heard() == ["a admit 192.0.2.1"]


async def test_who_is_replaced_hears_no_more_than_was_told_before(bench):
    path = bench.write("a.py", SCRIBE)
    await bench.follow(scribe(path, "a"))
    bench.hooks.close(WHO, ENDING)
    change = await bench.plugins.prepare(bench.config(scribe(path, "b")))
    change.commit()
    bench.hooks.close(WHO, ENDING)
    await change.cleanup()
    await bench.plugins.stop()
    heard = bench.heard()
    assert [line for line in heard if line.startswith("a")] == ["a made", "a close 0badc0de 1000", "a stop"]
    assert [line for line in heard if line.startswith("b")] == ["b made", "b close 0badc0de 1000", "b stop"]


async def test_the_state_says_which_hooks_fail(bench):
    await bench.follow(scribe(bench.write("a.py", SCRIBE), "a", fails=True))
    [state] = bench.plugins.states()
    assert (state.name, state.source, state.state) == ("a", str(bench.folder / "a.py"), "on")
    assert {hook.name for hook in state.hooks} == {"admit", "close", "event"}
    for _ in range(IN_A_ROW + 1):
        with pytest.raises(PluginUnavailable):
            await bench.hooks.admit(VISIT)
    [state] = bench.plugins.states()
    assert state.state == "failing"
    assert {hook.name: hook.state for hook in state.hooks} == {"admit": "off", "close": "on", "event": "on"}
    assert (state.calls, state.failures, state.slow, state.last_error) == (IN_A_ROW, IN_A_ROW, 0, "ValueError: oops")
    for _ in range(IN_A_ROW):
        bench.hooks.close(WHO, ENDING)
        bench.plugins.publish(Happening("reload", 0))
    await until(lambda: bench.plugins.states()[0].state == "off")
    bench.now_s += FIRST_REST_S
    bench.heard()
    with pytest.raises(PluginUnavailable):
        await bench.hooks.admit(VISIT)
    assert bench.heard() == ["a admit 192.0.2.1"]
