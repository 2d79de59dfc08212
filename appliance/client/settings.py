"""Resolves the arguments of `connect`: gateways, wire generation, registration and root key."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args
from urllib.parse import urlsplit

from websockets.exceptions import InvalidURI, WebSocketException
from websockets.uri import parse_uri

from appliance.client.errors import ConnectFailed
from appliance.client.opening import without_credentials
from appliance.client.sessions.session import Generation
from appliance.crypto import SigningKey, Verifier
from appliance.errors import ConfigError, ConfigProblem, KeyUnusable
from appliance.ic.endpoints import is_mainnet
from appliance.ic.http.transport import HttpTransport
from appliance.ic.network import resolve_root_key

GENERATIONS: Sequence[Generation] = get_args(Generation)
DEFAULT: Generation = "v2"

_MAINNET_URL = "https://icp-api.io"
_TIMEOUT_S = 15.0
_MAX_STATUS = 64 * 1024  # bytes; a real one has about 300


def gateways_of(url: str | Sequence[str]) -> tuple[str, ...]:
    """The URLs of the gateways, in order. Raises ConnectFailed for one that is no WebSocket's, ConfigError for none."""
    urls = (url,) if isinstance(url, str) else tuple(url)
    for each in urls:
        try:
            parse_uri(each)
        except (ValueError, WebSocketException) as error:
            problem = (
                error.msg if isinstance(error, InvalidURI) else str(error)
            )  # its text has the URL, with a password
            raise ConnectFailed(without_credentials(each), problem) from error
    if not urls:
        raise wrong("url", "there is no gateway in the list")
    return urls


def generation_of(gateways: Sequence[str], chosen: Generation | None) -> Generation:
    """The wire generation: the chosen one, else that at the end of every URL's path, else v2.

    Raises ConfigError where these contradict each other.
    """
    if chosen is not None and chosen not in GENERATIONS:
        raise wrong("generation", f"{chosen!r} is none; there are {', '.join(GENERATIONS)}")
    for url in gateways:
        named = _named_by(url)
        if chosen is not None and named not in (None, chosen):
            raise wrong(
                "generation", f"{chosen} is chosen, but the path of {without_credentials(url)} is that of {named}"
            )
    found = {chosen or _named_by(url) or DEFAULT for url in gateways}
    if len(found) > 1:
        raise wrong("url", f"the gateways are of different generations by their paths: {', '.join(sorted(found))}")
    return found.pop()


@dataclass(frozen=True)
class Registration:
    """The registration of a client of v0."""

    network_url: str
    given_key: SigningKey | None
    is_direct: bool
    """Whether messages to the canister do not go through the gateway."""

    def key(self) -> SigningKey:
        """For one session: the given one, else a fresh one, because the canister forgets a key with its client, and
        ``ws_close`` of the previous session may still be under way."""
        return self.given_key or SigningKey.generate("ed25519")


def registration_of(
    generation: Generation, network_url: str | None, client_key: SigningKey | None, *, direct: bool
) -> Registration | None:
    """None for generations that register nothing. Raises ConfigError where an argument is missing or has no place."""
    if generation == "v0":
        if network_url is None:
            raise wrong("network_url", "v0 needs it: the client registers its key with the canister over HTTP")
        return Registration(network_url, client_key, direct)
    for argument, given in (("client_key", client_key is not None), ("direct", direct)):
        if given:
            raise wrong(argument, f"it has no place in {generation}, only in v0")
    return None


async def verifier_for(
    root_key: bytes | str | None, network_url: str | None, *, max_age_s: float | None = None
) -> Verifier:
    """A verifier for a root key: DER bytes, 266 hexadecimal digits, ``mainnet``, or ``fetch`` from `network_url`.

    None means ``fetch`` where the URL is one of another network than the mainnet, else ``mainnet``. Certificates may be
    ``max_age_s`` old or ahead; None is the default of `Verifier`. Raises KeyUnusable,
    ConfigError for a setting that is none of these, or an IcError where the key cannot be fetched.
    """
    if isinstance(root_key, bytes):
        return _verifier(root_key, max_age_s)
    url = network_url or _MAINNET_URL
    setting = root_key or ("mainnet" if is_mainnet(url) else "fetch")
    if setting == "fetch" and network_url is None:
        raise KeyUnusable("root_key 'fetch' needs a network_url to fetch from")
    async with HttpTransport([url], timeout_s=_TIMEOUT_S, max_reply=_MAX_STATUS) as transport:
        return _verifier(await resolve_root_key(setting, transport), max_age_s)


def _verifier(root_key: bytes, max_age_s: float | None) -> Verifier:
    if max_age_s is None:
        return Verifier(root_key)
    return Verifier(root_key, max_age_ns=round(max_age_s * 1e9), max_ahead_ns=round(max_age_s * 1e9))


def wrong(argument: str, problem: str) -> ConfigError:
    """The error for an argument of `connect`."""
    return ConfigError([ConfigProblem("connect", argument, problem)])


def _named_by(url: str) -> Generation | None:
    last = urlsplit(url).path.rstrip("/").rpartition("/")[2]
    return next((generation for generation in GENERATIONS if generation == last), None)
