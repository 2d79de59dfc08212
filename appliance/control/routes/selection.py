"""Selects sessions by a filter, and splits them into pages."""

import heapq
import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from appliance.config.schema import Canister, Config
from appliance.control.http.problems import Invalid, NotFound
from appliance.control.models import Fault, SessionFilter
from appliance.gateway.connections import ConnectionInfo
from appliance.gateway.gateway import Gateway
from appliance.ic.principal import Principal

_EPOCH = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Selection:
    """A compiled filter. Raises Invalid for an address that is neither an IP address nor a network."""

    def __init__(self, wanted: SessionFilter, config: Config, *, now_ns: int, place: str = "body") -> None:
        """``place`` is the part of the request with the filter: ``body`` or ``query``."""
        self._wanted = wanted
        self._canister = wanted.canister and canister_id_of(wanted.canister, config)
        self._network = None if wanted.address in (None, "unix") else _network(str(wanted.address), place)
        self._until_ns = None if wanted.min_age_s is None else now_ns - round(wanted.min_age_s * 1e9)

    def __contains__(self, facts: ConnectionInfo) -> bool:
        wanted = self._wanted
        return (
            wanted.id in (None, facts.id)
            and self._canister in (None, facts.canister)
            and wanted.generation in (None, facts.generation)
            and wanted.state in (None, facts.state.value)
            and (wanted.client is None or (facts.client or "").startswith(wanted.client))
            and (self._until_ns is None or facts.connected_at_ns <= self._until_ns)
            and (wanted.address is None or self._is_from_there(facts.address))
        )

    def _is_from_there(self, address: str) -> bool:
        if self._network is None:
            return address == "unix"
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return parsed in self._network or (mapped is not None and mapped in self._network)


def listed_canister(name: str, config: Config) -> Canister:
    """The listed canister with this name or id. Raises NotFound."""
    canister = config.named(name)
    if canister is None:
        raise NotFound(f"no canister {name[:63]} is listed")
    return canister


def served_canister(name: str, gateway: Gateway) -> Principal:
    """The id of a canister that is listed, by its name or id, or that has clients. Raises NotFound."""
    if (listed := gateway.config.named(name)) is not None:
        return listed.id
    for canister_id in gateway.hub.canisters():
        if str(canister_id) == name:
            return canister_id
    raise NotFound(f"no canister {name[:63]} is listed, and none of this id has clients")


def canister_id_of(name: str, config: Config) -> str:
    """The id of a canister by its name; an id is its own."""
    canister = config.named(name)
    return name if canister is None else str(canister.id)


def name_of(canister: str | None, config: Config) -> str | None:
    """The configured name of a canister by its id, None if it has none."""
    found = None if canister is None else config.named(canister)
    return None if found is None else found.name


def check_address(text: str, place: str) -> None:
    """Raises Invalid for what is neither an IP address nor a network nor ``unix``."""
    if text != "unix":
        _network(text, place)


def page(found: Iterable[ConnectionInfo], *, after: str | None, limit: int) -> tuple[list[ConnectionInfo], str | None]:
    """The ``limit`` sessions after the cursor ``after``, and the cursor of the next page, None at the end.

    The cursor is a time and an id rather than an offset, so that sessions that end meanwhile do not shift the pages.
    Raises Invalid for a malformed cursor.
    """
    position = _position(after)
    items = heapq.nsmallest(limit + 1, (facts for facts in found if _key(facts) > position), key=_key)
    more = len(items) > limit
    items = items[:limit]
    return items, "{}.{}".format(*_key(items[-1])) if more else None


def cursor(connected_at: datetime, session: str) -> str:
    """The cursor of the page behind a session."""
    return f"{(connected_at - _EPOCH) // _MICROSECOND * 1000}.{session}"


def _key(facts: ConnectionInfo) -> tuple[int, str]:
    """To the microsecond, as times of the API are: pages of several nodes are put together by these."""
    return facts.connected_at_ns // 1000 * 1000, facts.id


def _position(after: str | None) -> tuple[int, str]:
    if after is None:
        return -1, ""
    time, dot, session = after.partition(".")
    if not (dot and time.isascii() and time.isdigit() and len(time) < 30):
        raise _invalid("query", "after", "is not the `next` of a page")
    return int(time), session


def _network(text: str, place: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise _invalid(place, "address", f"{text[:64]!r} is neither an IP address nor a network nor unix") from None


def _invalid(place: str, key: str, problem: str) -> Invalid:
    return Invalid(f"{key}: {problem}", errors=[Fault(place=place, key=key, problem=problem)])
