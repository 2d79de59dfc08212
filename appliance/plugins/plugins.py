"""The plugins that are loaded, as a part of the gateway that follows the configuration."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance.config.files import digest_of
from appliance.config.schema import Config
from appliance.config.schema import Plugin as Entry
from appliance.errors import ConfigError, ConfigProblem
from appliance.gateway.hooks import CanisterMessage, ClientMessage, Ending, Happening, Hooks, Visit, Who
from appliance.plugins.guard import Guard
from appliance.plugins.load import LoadedPlugin, load
from appliance.threads import FILES


@dataclass(frozen=True, slots=True)
class HookState:
    """One hook of a plugin; the counts are those of ``guard.Tally``."""

    name: str
    state: Literal["on", "off"]
    calls: int
    failures: int
    slow: int
    refusals: int
    seconds: float
    last_error: str | None


@dataclass(frozen=True, slots=True)
class PluginState:
    """A plugin with the counts of all its hooks together, and the last error of the first hook that has one.

    ``source`` is its file or module. ``state`` is ``off`` while all of its hooks are switched off for failing too
    often, ``failing`` while some are. ``waiting`` is the number of its calls that wait.
    """

    name: str
    source: str
    state: Literal["on", "failing", "off"]
    hooks: tuple[HookState, ...]
    calls: int
    failures: int
    slow: int
    seconds: float
    waiting: int
    last_error: str | None


class Plugins:
    """Follows the section ``plugins``: binds ``hooks`` to the loaded plugins. The owner must call `stop`."""

    def __init__(
        self, hooks: Hooks, *, folder: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``folder`` is where relative paths in settings of plugins count from, ``clock`` is monotonic, in seconds."""
        self._hooks = hooks
        self._folder = folder
        self._clock = clock
        self._loaded: Sequence[LoadedPlugin] = ()

    def states(self) -> list[PluginState]:
        """Every plugin in the order of the configuration."""
        return [_state_of(plugin) for plugin in self._loaded]

    def publish(self, happening: Happening) -> None:
        """Pass an event to the plugins with an ``event`` hook."""
        if self._hooks.event is not None:
            self._hooks.event(happening)

    async def prepare(self, new: Config) -> "PreparedPlugins":
        """Load plugins that are new, or whose entry or file has changed. Raises ConfigError, and has changed nothing
        then.
        """
        before = {plugin.entry.label: plugin for plugin in self._loaded}
        plugins: list[LoadedPlugin] = []
        fresh: list[LoadedPlugin] = []
        problems: list[ConfigProblem] = []
        for entry in new.plugins:
            old = before.get(entry.label)
            if old is not None and await _is_same(old, entry):
                plugins.append(old)
                continue
            try:
                fresh.append(await load(entry, folder=self._folder, clock=self._clock))
                plugins.append(fresh[-1])
            except ConfigError as error:
                problems += error.problems
            except BaseException:
                await _stop(fresh)
                raise
        if problems:
            await _stop(fresh)
            raise ConfigError(problems)
        return PreparedPlugins(self, plugins, fresh, [plugin for plugin in self._loaded if plugin not in plugins])

    async def stop(self) -> None:
        """Unbind every hook, and stop every plugin."""
        gone, self._loaded = self._loaded, ()
        self._hooks.bind(Hooks())
        await _stop(gone)

    def _take(self, plugins: Sequence[LoadedPlugin]) -> None:
        self._loaded = plugins
        self._hooks.bind(bound(plugins))


class PreparedPlugins:
    """A new set of plugins, loaded and not called yet."""

    def __init__(
        self,
        owner: Plugins,
        plugins: Sequence[LoadedPlugin],
        fresh: Sequence[LoadedPlugin],
        gone: Sequence[LoadedPlugin],
    ) -> None:
        self._owner = owner
        self._plugins = plugins
        self._fresh = fresh
        self._gone = gone

    def commit(self) -> None:
        """Call these plugins from now on."""
        self._owner._take(self._plugins)

    async def rollback(self) -> None:
        """Stop the plugins that were loaded for this change."""
        await _stop(self._fresh)

    async def cleanup(self) -> None:
        """Stop the plugins that were replaced or removed."""
        await _stop(self._gone)


def bound(plugins: Sequence[LoadedPlugin]) -> Hooks:
    """One function for each hook that some plugin has. Plugins are called in the order of the configuration, and the
    first refusal counts."""
    by_name = {name: _guards(plugins, name) for name in Hooks.__slots__}

    async def admit(visit: Visit) -> None:
        await _decide(by_name["admit"], visit=visit)

    async def open(who: Who) -> None:
        await _decide(by_name["open"], who=who)

    async def client_message(who: Who, message: ClientMessage) -> None:
        await _decide(by_name["client_message"], who=who, message=message)

    def canister_message(who: Who, message: CanisterMessage) -> None:
        _notify(by_name["canister_message"], len(message.frame), who=who, message=message)

    def close(who: Who, ending: Ending) -> None:
        _notify(by_name["close"], 0, who=who, ending=ending)

    def event(event: Happening) -> None:
        _notify(by_name["event"], 0, event=event)

    hooks = Hooks(admit, open, client_message, canister_message, close, event)
    for name, guards in by_name.items():
        if not guards:
            setattr(hooks, name, None)
    return hooks


def _guards(plugins: Iterable[LoadedPlugin], name: str) -> list[Guard]:
    return [plugin.guards[name] for plugin in plugins if name in plugin.guards]


async def _decide(guards: Iterable[Guard], **facts: object) -> None:
    for guard in guards:
        await guard.decide(**facts)


def _notify(guards: Iterable[Guard], size: int, **facts: object) -> None:
    for guard in guards:
        guard.notify(size, **facts)


async def _is_same(plugin: LoadedPlugin, entry: Entry) -> bool:
    if plugin.entry != entry:
        return False
    return entry.path is None or await FILES.run(digest_of, entry.path) == plugin.digest


async def _stop(plugins: Iterable[LoadedPlugin]) -> None:
    await asyncio.gather(*(plugin.stop() for plugin in plugins))


def _state_of(plugin: LoadedPlugin) -> PluginState:
    hooks = tuple(_hook_state(guard) for guard in plugin.guards.values())
    off = sum(hook.state == "off" for hook in hooks)
    state: Literal["on", "failing", "off"] = "on" if not off else "off" if off == len(hooks) else "failing"
    return PluginState(
        plugin.entry.label,
        str(plugin.entry.path or plugin.entry.module),
        state,
        hooks,
        calls=sum(hook.calls for hook in hooks),
        failures=sum(hook.failures for hook in hooks),
        slow=sum(hook.slow for hook in hooks),
        seconds=sum(hook.seconds for hook in hooks),
        waiting=next((guard.waiting for guard in plugin.guards.values()), 0),
        last_error=next((hook.last_error for hook in hooks if hook.last_error), None),
    )


def _hook_state(guard: Guard) -> HookState:
    tally = guard.tally
    return HookState(
        guard.name,
        guard.state,
        tally.calls,
        tally.failures,
        tally.slow,
        tally.refusals,
        tally.seconds,
        tally.last_error,
    )
