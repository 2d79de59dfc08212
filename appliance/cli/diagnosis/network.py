"""Checks of the IC: whether each endpoint answers, which network it belongs to, and how the clocks differ."""

import time
from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlsplit

from appliance.cli.diagnosis.findings import Finding, fault, note, ok, warning
from appliance.cli.output.certificate_text import NO_LIMIT_NS, Certificate, read_certificate_file
from appliance.cli.output.formatting import duration
from appliance.config.schema import Config
from appliance.crypto import Verifier
from appliance.errors import GatewayError, IcRefused, IcUnreachable
from appliance.ic.agent import Agent
from appliance.ic.endpoints import is_mainnet
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import AnonymousIdentity
from appliance.ic.network import MAINNET_ROOT_KEY, fetch_root_key, fetch_status, root_key_warning
from appliance.ic.principal import Principal

LEDGER = Principal.from_text("ryjl3-tyaaa-aaaaa-aaaba-cai")
"""A canister that always exists on the mainnet."""
_SET_CLOCK = "set the clock: timedatectl set-ntp true"
SKEW_S = 10.0
"""A larger difference is a warning, although everything still works."""


async def check_endpoint(config: Config, url: str, canisters: Sequence[Principal]) -> AsyncIterator[Finding]:
    """Check one endpoint. A certificate of one of these canisters shows its clock."""
    network = config.network
    async with HttpTransport([url], timeout_s=network.timeout, max_reply=network.max_reply) as transport:
        started = time.monotonic()
        try:
            status = await fetch_status(transport)
        except GatewayError as error:
            yield fault("endpoint", str(error), _unreachable_advice(url, error))
            return
        took = duration(time.monotonic() - started)
        health, version = status.get("replica_health_status"), status.get("impl_version")
        shown = ", ".join(str(fact) for fact in (version and f"version {version}", health) if fact)
        yield _healthy(url, took, shown, health)
        key = None
        try:
            key = await fetch_root_key(transport)
        except GatewayError as error:
            yield warning("root key", f"{url} does not state its root key: {error}", "is it an endpoint of the IC?")
        for finding in _root_key(config, url, key):
            yield finding
        async for finding in _clock(config, transport, key, canisters):
            yield finding


def root_key_of(config: Config, fetched: bytes | None) -> bytes | None:
    """Return the root key that the configuration selects."""
    setting = config.network.root_key
    return MAINNET_ROOT_KEY if setting == "mainnet" else fetched if setting == "fetch" else bytes.fromhex(setting)


def _healthy(url: str, took: str, shown: str, health: object) -> Finding:
    text = f"{url} answers after {took}{f' ({shown})' if shown else ''}"
    if health not in (None, "healthy"):
        return warning("endpoint", text, "it is not healthy: wait, or add another endpoint to network.url")
    return ok("endpoint", text)


def _unreachable_advice(url: str, error: GatewayError) -> str:
    host = urlsplit(url).hostname
    if isinstance(error, IcUnreachable):
        return f"does {host} resolve, and can this machine connect to it? Try: curl -v {url}/api/v2/status"
    if isinstance(error, IcRefused):
        return f"{host} answers, but not like the IC: is network.url right? The mainnet's is https://icp-api.io"
    return "is network.url right?"


def _root_key(config: Config, url: str, stated: bytes | None) -> list[Finding]:
    setting = config.network.root_key
    if setting == "fetch" and is_mainnet(url):
        return [fault("root key", "the mainnet's key is built in and must not be fetched", "network.root_key: mainnet")]
    expected = root_key_of(config, stated)
    if stated is not None and expected != stated:
        whose = "the mainnet's" if setting == "mainnet" else "another key"
        advice = (
            "is network.url right? For a network of your own: network.root_key: fetch, or the key, which is "
            f"{stated.hex()}"
        )
        return [fault("root key", f"{url} belongs to another network: network.root_key is {whose}", advice)]
    if caution := root_key_warning(setting, [url]):
        if setting == "fetch" and stated is not None and "local network" not in caution:
            return [warning("root key", caution, f"better set it: network.root_key: {stated.hex()}")]
        return [note("root key", caution)]
    return [
        ok(
            "root key",
            f"{'the mainnet' if expected == MAINNET_ROOT_KEY else 'the network'} has the key …{_end(expected)}",
        )
    ]


def _end(key: bytes | None) -> str:
    return "" if key is None else key.hex()[-16:]


async def _clock(
    config: Config, transport: HttpTransport, stated: bytes | None, canisters: Sequence[Principal]
) -> AsyncIterator[Finding]:
    key = root_key_of(config, stated)
    if key is None:
        return
    agent = Agent(transport, AnonymousIdentity(), Verifier(key))
    last = ""
    for canister_id in dict.fromkeys((*canisters, LEDGER)):
        before_ns = time.time_ns()
        try:
            raw = await agent.fetch_certificate([[b"time"]], canister_id)
            certificate = read_certificate_file(raw)
            _verify_any_age(certificate, canister_id, key)
            ahead_s = (certificate.time_ns - (before_ns + time.time_ns()) / 2) / 1e9
        except GatewayError as error:
            last = str(error)
            if isinstance(error, IcRefused) and "expiry" in error.text:
                yield fault("clock", f"requests signed now do not fit the IC's time: {error.text}", _SET_CLOCK)
                return
            continue
        yield _skew(config, ahead_s)
        return
    yield warning("clock", f"no certificate with the time: {last}", "`icws doctor CANISTER` shows more")


def _verify_any_age(certificate: Certificate, canister_id: Principal, key: bytes) -> None:
    """Verify at any age. Raises CertificateError or Malformed."""
    verifier = Verifier(key, max_age_ns=NO_LIMIT_NS, max_ahead_ns=NO_LIMIT_NS)
    verifier.verify_certificate(certificate.raw, canister_id, now_ns=time.time_ns())


def _skew(config: Config, ahead_s: float) -> Finding:
    limit_s = config.verification.max_certificate_age
    behind = f"this clock is {duration(abs(ahead_s))} {'behind' if ahead_s > 0 else 'ahead of'} the IC"
    advice = f"{_SET_CLOCK} (or the endpoint lags and its certificate is old)"
    if abs(ahead_s) > limit_s:
        return fault("clock", f"{behind}: certificates are refused beyond {duration(limit_s)}", advice)
    if abs(ahead_s) > SKEW_S:
        return warning("clock", behind, advice)
    return ok("clock", f"{behind}, as certified")
