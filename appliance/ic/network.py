"""The status and the root key of a network (interface specification, "Root of trust")."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import urlsplit

import structlog

from appliance.errors import ConfigError, ConfigProblem, IcError, Malformed, ReplyError, reading_reply
from appliance.ic.endpoints import Endpoint, is_mainnet
from appliance.ic.failover import first_answer
from appliance.ic.http.proxies import is_loopback
from appliance.ic.http.transport import Transport
from appliance.ic.replies import field, read_fields

ROOT_KEY_LENGTH = 133
ROOT_KEY_PREFIX = bytes.fromhex("308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100")
MAINNET_ROOT_KEY = ROOT_KEY_PREFIX + bytes.fromhex(
    "814c0e6ec71fab583b08bd81373c255c3c371b2e84863c98a4f1e08b74235d14"
    "fb5d9c0cd546d9685f913a0c0b2cc5341583bf4b4392e467db96d65b9bb4cb71"
    "7112f8472e0d5a4d14505ffd7484b01291091c5f87b98883463f98091a0baaae"
)

_log = structlog.get_logger(__name__)

FETCH_AGAIN_S = 1.0, 10.0
"""The first and the longest pause between two attempts to fetch a root key."""


async def fetch_status(transport: Transport) -> Mapping[str, object]:
    """The status of an endpoint: ``root_key``, ``impl_version``, ``replica_health_status`` … Not certified.

    Raises IcUnreachable, IcRefused or a ReplyError.
    """
    return await first_answer(transport, partial(_status, transport))


async def fetch_root_key(transport: Transport) -> bytes:
    """The root key (DER) that an endpoint states. Whoever controls the endpoint or the way to it chooses that key.

    Raises as fetch_status does.
    """

    async def attempt(endpoint: Endpoint) -> bytes:
        status = await _status(transport, endpoint)
        with reading_reply():
            return _checked(field(status, "root_key", bytes, "status"), "status")

    return await first_answer(transport, attempt)


async def _status(transport: Transport, endpoint: Endpoint) -> Mapping[str, object]:
    reply = await transport.send(endpoint, "/api/v2/status")
    with reading_reply():
        return read_fields(reply.body, "status")


async def resolve_root_key(setting: str, transport: Transport) -> bytes:
    """The root key (DER) that ``network.root_key`` means: ``mainnet``, ``fetch`` or the key in hexadecimal digits.

    Raises ConfigError for anything else and for fetching the key of the mainnet, which is known; and what
    fetch_root_key raises. See ``root_key_warning`` for the operator.
    """
    if setting == "mainnet":
        return MAINNET_ROOT_KEY
    if setting == "fetch":
        if any(map(is_mainnet, transport.urls)):
            raise _setting_problem("the key of the mainnet is known and must not be fetched; write mainnet")
        return await fetch_root_key(transport)
    try:
        return _checked(bytes.fromhex(setting), "root key")
    except (ValueError, Malformed):
        raise _setting_problem("write mainnet, fetch, or a DER key in 266 hexadecimal digits") from None


async def wait_for_root_key(setting: str, transport: Transport) -> bytes:
    """The same, again and again until an endpoint answers: a gateway may be started before its network is up.

    Raises ConfigError as resolve_root_key does.
    """
    pause_s, longest_s = FETCH_AGAIN_S
    while True:
        try:
            return await resolve_root_key(setting, transport)
        except (IcError, ReplyError) as error:
            advice = "is the network of network.url up?"
            _log.warning("the root key cannot be fetched yet", cause=str(error), advice=advice, again_in_s=pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, longest_s)


def root_key_warning(setting: str, urls: Sequence[str]) -> str | None:
    """A warning about this choice of a root key, as a sentence; None if there is none."""
    remote = [url for url in urls if not is_loopback(urlsplit(url).hostname or "")]
    if setting == "fetch":
        whom = f"{', '.join(remote)} and everybody on the way to it" if remote else "the local network"
        return f"the root key is fetched: every certificate is trusted on the word of {whom}"
    if setting == "mainnet" and not any(map(is_mainnet, urls)):
        return f"the root key is the mainnet's, but {', '.join(urls)} is not known to be the mainnet"
    return None


def _checked(key: bytes, what: str) -> bytes:
    if len(key) != ROOT_KEY_LENGTH or not key.startswith(ROOT_KEY_PREFIX):
        raise Malformed(what, "the root key is not a BLS12-381 key in DER")
    return key


def _setting_problem(problem: str) -> ConfigError:
    return ConfigError([ConfigProblem("network", "root_key", problem)])
