"""Variables of the environment that set keys, and what they and ``--set`` may turn off unnoticed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.config.problems import keys_of
from appliance.config.schema import Config, Section
from appliance.config.text.document import Path
from appliance.errors import ConfigProblem

PREFIX = "ICWS_"
ELSEWHERE = frozenset({"ICWS_CONFIG", "ICWS_SOCKET", "ICWS_URL", "ICWS_TOKEN_FILE"})
"""Variables that options of the command line read."""

_GUARDED: Mapping[Path, str] = {
    ("gateway", "tls"): "clients connect without TLS",
    ("control", "listen"): "there is no control plane",
    ("verification", "certificates"): "data of canisters that does not verify is passed on",
    ("verification", "envelopes"): "messages of clients that do not verify are passed on",
    ("verification", "queries"): "replies to polls that no node has signed are believed",
}
"""Keys that protect, with what happens without each."""


def variable_path(name: str) -> Path:
    """The key that a variable of the environment sets; empty if it is none of ours.

    Without ``__`` only keys of the top count, and not ``version``: other programs use variables such as ``ICWS_PORT``.
    """
    path = tuple(name.removeprefix(PREFIX).lower().split("__"))
    ours = name.startswith(PREFIX) and (len(path) > 1 or path[0] in Config.model_fields.keys() - {"version"})
    return path if ours else ()


def unused_variables(environment: Mapping[str, str]) -> Iterator[ConfigProblem]:
    """A warning for each variable that sets nothing because it has one underscore instead of two."""
    known = {"_".join(path).upper(): "__".join(path).upper() for path in keys_of(Config) if len(path) > 1}
    for name in sorted(environment):
        meant = known.get(name.removeprefix(PREFIX).replace("__", "_").upper())
        if name.startswith(PREFIX) and name not in ELSEWHERE and meant and not variable_path(name):
            yield ConfigProblem(f"variable {name}", "", f"sets nothing; did you mean {PREFIX}{meant}?")


@dataclass(frozen=True)
class Guarded:
    """Which of the keys that protect were on in the file, to see what a variable or a setting turns off."""

    were_on: frozenset[Path]

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> "Guarded":
        """From the values of the file, as they are written."""
        return cls(frozenset(path for path in _GUARDED if _is_on(_at(written, path))))

    def warnings(self, config: Config, place_of: Callable[[str], str]) -> Iterator[ConfigProblem]:
        """A warning for each key that is off in the configuration and was on in the file."""
        for path in _GUARDED:
            section, key = path
            value = getattr(getattr(config, str(section)), str(key))
            if path in self.were_on and not _is_on(value):
                name = f"{section}.{key}"
                shown = value or "null"
                problem = f"is {shown} by this: {_GUARDED[path]}"
                yield ConfigProblem(place_of(name), name, problem)


def without_cluster(config: Config, place_of: Callable[[str], str]) -> Iterator[ConfigProblem]:
    """A warning for each limit that all nodes shall count together where there is one node only."""
    if config.cluster is not None or config.gateway.workers != "1":
        return
    limits: list[tuple[str, Section]] = [("rate_limits", config.rate_limits)]
    limits += [(f"canisters[{each.id}].rate_limits", each.rate_limits) for each in config.canisters if each.rate_limits]
    for where, section in limits:
        for name in type(section).model_fields:
            if getattr(getattr(section, name), "scope", "node") == "cluster":
                key = f"{where}.{name}.scope"
                problem = "is cluster, but no cluster is configured and there is one worker: this node counts alone"
                yield ConfigProblem(place_of(key), key, problem)


def _at(written: Mapping[str, Any], path: Path) -> Any:
    """The value at a path, the default where nothing is written."""
    value: Any = written
    default: Any = Config()
    for part in path:
        default = getattr(default, str(part))
        value = value.get(part, default) if isinstance(value, Mapping) else default
    return value


def _is_on(value: object) -> bool:
    return value not in (None, [], "off", "report")
