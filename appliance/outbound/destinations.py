"""Where a gateway may connect to: the endpoints of ``network.url``, as its file says now."""

from contextlib import suppress
from urllib.parse import urlsplit

import structlog

from appliance.config.schema import Config
from appliance.config.source import Source
from appliance.errors import ConfigError
from appliance.ic.http.proxies import ascii_url
from appliance.threads import FILES

_log = structlog.get_logger(__name__)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Destinations:
    """Host and port of every endpoint of a configuration. A file that has changed is read again."""

    def __init__(self, source: Source) -> None:
        """Raises ConfigError."""
        loaded = source.load()
        self._source = source
        self._text = loaded.text
        self._allowed = endpoints_of(loaded.config)

    @property
    def file(self) -> str:
        """Where the endpoints are written."""
        return str(self._source.file)

    async def allow(self, target: str) -> bool:
        """Whether this host and port are those of an endpoint. While the file cannot be used, or read in time, those
        that it had count.
        """
        with suppress(TimeoutError):
            await FILES.run_once(self, self._follow)
        return target.lower() in self._allowed

    def _follow(self) -> None:
        try:
            if (text := self._source.read()) == self._text:
                return
            self._text = text  # also that of a file that cannot be used, so that the log has it once
            self._allowed = endpoints_of(self._source.load(text, name=self.file).config)
        except ConfigError as error:
            _log.warning("the configuration cannot be used, the endpoints stay as they were", cause=str(error))


def endpoints_of(config: Config) -> frozenset[str]:
    """Host and port of each endpoint, as a request for a tunnel names them."""
    return frozenset(_host_and_port(url) for url in config.network.url)


def _host_and_port(url: str) -> str:
    """In ASCII, as the HTTP client resolves names; an IPv6 address in brackets."""
    parts = urlsplit(ascii_url(url))
    host = parts.hostname or ""
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or _DEFAULT_PORTS[parts.scheme]}"
