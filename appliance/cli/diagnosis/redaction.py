"""Takes out of texts and values what must not leave the machine: secrets, and the addresses of clients."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "…"
_SECRETS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"\bicws_[A-Za-z0-9_-]{43}"), f"icws_{HIDDEN}"),  # a token of the API; names of metrics are shorter
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?<=://)[^/\s@'\"]+(?=@)"), HIDDEN),
    (
        re.compile(r"(?i)([?&;\s][\w.-]*(?:password|passwd|secret|token|api[_-]?key|signature)[\w.-]*=)[^&;\s'\"]+"),
        rf"\1{HIDDEN}",
    ),
)


class Redaction:
    """``learn`` has to see every document before ``apply`` is used: an address may be in the text of another one.

    Clients get numbers, so that what one of them did can still be followed through the archive.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._pattern: re.Pattern[str] | None = None

    def learn(self, value: Any) -> None:
        """Find the addresses of clients: what stands at a key ``address``."""
        if isinstance(value, Mapping):
            if isinstance(address := value.get("address"), str) and (host := _host_of(address)) is not None:
                self._numbers.setdefault(host, len(self._numbers) + 1)
                self._pattern = None
            for each in value.values():
                self.learn(each)
        elif isinstance(value, list):
            for each in value:
                self.learn(each)

    def apply(self, value: Any) -> Any:
        """The value without secrets and addresses of clients. Settings of plugins are hidden, whatever they are."""
        if isinstance(value, Mapping):
            return {name: self._entry(name, each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.apply(each) for each in value]
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        """A text without them."""
        for pattern, instead in _SECRETS:
            text = pattern.sub(instead, text)
        if not self._numbers:
            return text
        if self._pattern is None:
            longest_first = sorted(self._numbers, key=len, reverse=True)
            self._pattern = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, longest_first))})(?![\w.])")
        return self._pattern.sub(lambda found: f"client-{self._numbers[found[0]]}", text)

    def _entry(self, name: str, value: Any) -> Any:
        if name == "plugins" and isinstance(value, list):
            return [self.apply(_without_settings(each)) for each in value]
        return self.apply(value)


def _without_settings(plugin: Any) -> Any:
    if not isinstance(plugin, Mapping) or not isinstance(settings := plugin.get("config"), Mapping):
        return plugin
    return {**plugin, "config": dict.fromkeys(settings, HIDDEN)}


def _host_of(address: str) -> str | None:
    """The IP address in the address of a client; None for this machine, and for what is none."""
    bare = address.rpartition(":")[0].strip("[]") if address.count(":") == 1 or "]" in address else address
    try:
        return None if ipaddress.ip_address(bare.partition("%")[0]).is_loopback else bare
    except ValueError:
        return None
