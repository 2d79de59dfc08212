"""The address of the engine of a cluster, as it is written in ``cluster.url``.

A URL with a password is refused: the configuration is shown by the API, kept in revisions and printed by commands.
"""

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from appliance.config.fields.address import TcpAddress, normal_host

_FORMS = "redis://HOST:PORT, rediss://HOST:PORT (TLS), unix:///PATH or sentinel://HOST:PORT,HOST:PORT/NAME"
_DEFAULT_PORTS = {"redis": 6379, "rediss": 6379, "sentinel": 26379, "sentinels": 26379}
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")


class EngineUrl(NamedTuple):
    """Where the engine is: ``path`` of its Unix socket, or its ``hosts``; several are Sentinels, which know the address
    of ``master``.
    """

    scheme: str
    hosts: tuple[TcpAddress, ...] = ()
    path: Path | None = None
    user: str | None = None
    database: int = 0
    master: str | None = None

    @property
    def is_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.scheme in ("rediss", "sentinels")

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        if self.path is not None:
            return f"unix://{user}{self.path}" + (f"?db={self.database}" if self.database else "")
        parts = [",".join(map(str, self.hosts)), *filter(None, [self.master]), *filter(None, [self.database])]
        return f"{self.scheme}://{user}" + "/".join(map(str, parts))


def parse_engine_url(text: str) -> EngineUrl:
    """Read the URL of an engine. Raises ValueError with the problem, which repeats no password."""
    try:
        url = urlsplit(text)
    except ValueError:
        raise ValueError(f"this is not the URL of an engine; write {_FORMS}") from None
    account, at, place = url.netloc.rpartition("@")
    if at and ":" in account:
        raise ValueError("the URL has a password; write that into a file and name it in cluster.password_file")
    if url.scheme not in ("unix", *_DEFAULT_PORTS):
        raise ValueError(f"{url.scheme or text!r} is no scheme of an engine; write {_FORMS}")
    if url.fragment or (url.query and url.scheme != "unix"):
        raise ValueError(f"the URL of an engine has no parameters; write {_FORMS}")
    user = unquote(account) or None
    if url.scheme == "unix":
        if place or not Path(url.path).name:
            raise ValueError("write the whole path of the socket, e.g. unix:///run/redis/redis.sock")
        return EngineUrl("unix", path=Path(url.path), user=user, database=_database(url.query.removeprefix("db=")))
    hosts = tuple(_host(each, _DEFAULT_PORTS[url.scheme]) for each in place.split(","))
    parts = [part for part in url.path.split("/") if part]
    if not url.scheme.startswith("sentinel"):
        if len(hosts) > 1:
            raise ValueError("several hosts are Sentinels; write sentinel://HOST:PORT,HOST:PORT/NAME")
        if len(parts) > 1:
            raise ValueError(f"{url.path} is no number of a database")
        return EngineUrl(url.scheme, hosts, user=user, database=_database(parts[0] if parts else ""))
    if not 1 <= len(parts) <= 2:
        raise ValueError("name the group that the Sentinels watch: sentinel://HOST:PORT,HOST:PORT/NAME")
    return EngineUrl(
        url.scheme, hosts, user=user, master=parts[0], database=_database(parts[1] if len(parts) > 1 else "")
    )


def check_engine_url(text: str) -> str:
    """The normal form of the URL of an engine. Raises ValueError with the problem."""
    return str(parse_engine_url(text))


def _host(text: str, port: int) -> TcpAddress:
    if (found := _HOST.fullmatch(text)) is None:
        raise ValueError(f"{text!r} is not a host with a port; write e.g. redis.example:6379")
    number = int(found["port"] or port)
    if not 1 <= number <= 65535:
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    return TcpAddress(normal_host(found["host"].strip("[]")), number)


def _database(text: str) -> int:
    if not text:
        return 0
    if not text.isdecimal() or int(text) > 1_000_000:
        raise ValueError(f"{text!r} is no number of a database")
    return int(text)
