"""``icws cert``: shows and verifies certificates."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from appliance.cli.groups import HelpfulGroup
from appliance.cli.output.certificate_text import (
    NO_LIMIT_NS,
    Certificate,
    age_text,
    read_certificate_file,
    time_text,
    tree_lines,
)
from appliance.cli.output.terminal import echo, print_result
from appliance.cli.remote.api_options import json_option
from appliance.cli.remote.arguments import AGE, PRINCIPAL
from appliance.config.schema import Network
from appliance.crypto import Verifier
from appliance.errors import CertificateError, GatewayError, Malformed
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import AnonymousIdentity
from appliance.ic.network import MAINNET_ROOT_KEY, resolve_root_key, root_key_warning
from appliance.ic.principal import Principal

DEFAULT_CANISTER = Principal.from_text("ryjl3-tyaaa-aaaaa-aaaba-cai")  # exists on the mainnet for good: the ledger
MAX_FILE_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class _Checks:
    """What to verify. ``max_age_s`` None accepts any age."""

    canister_id: Principal | None
    root_key: bytes
    max_age_s: float | None


@click.group(cls=HelpfulGroup)
def cert() -> None:
    """Show and verify certificates of the IC."""


@cert.command()
@click.argument("source")
@click.option("--canister", type=PRINCIPAL, metavar="ID", help="Check that the certificate is valid for this canister.")
@click.option(
    "--root-key", default="mainnet", show_default=True, help="mainnet, fetch (for a URL only) or hexadecimal digits."
)
@click.option("--max-age", type=AGE, help="Maximum age; 5m for a URL, no limit for a file by default.")
@click.option(
    "--path",
    "paths",
    multiple=True,
    default=["time"],
    show_default=True,
    help="Path to request from a URL, e.g. a/b/0xff. Repeatable.",
)
@json_option
def show(source: str, canister: Principal | None, root_key: str, max_age: float | None, paths: Sequence[str]) -> None:
    """Show and verify the certificate in SOURCE. Exit code 1: it is not valid.

    SOURCE is a file with a certificate or a read_state reply, or the URL of an endpoint to request one from.
    """
    if "://" in source:
        certificate, checks = asyncio.run(_fetch(source, canister, root_key, max_age, paths))
    else:
        certificate, checks = _read(Path(source)), _Checks(canister, _known_key(root_key), max_age)
    _show(certificate, checks)


def _known_key(setting: str) -> bytes:
    if setting == "mainnet":
        return MAINNET_ROOT_KEY
    try:
        return bytes.fromhex(setting)
    except ValueError:
        raise click.UsageError("--root-key for a file is mainnet or the key in hexadecimal digits") from None


def _read(path: Path) -> Certificate:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise click.ClickException(f"{path} is too large for a certificate")
    return read_certificate_file(data)


async def _fetch(
    url: str, canister: Principal | None, root_key: str, max_age_s: float | None, paths: Sequence[str]
) -> tuple[Certificate, _Checks]:
    defaults = Network()
    async with HttpTransport([url], timeout_s=defaults.timeout, max_reply=defaults.max_reply) as transport:
        key = await resolve_root_key(root_key, transport)
        warning = root_key_warning(root_key, transport.urls)
        if warning:
            echo(f"warning: {warning}", err=True)
        agent = Agent(transport, AnonymousIdentity(), Verifier(key))
        canister = canister or DEFAULT_CANISTER
        raw = await agent.fetch_certificate([_path(text) for text in paths], canister)
    return read_certificate_file(raw), _Checks(canister, key, 300.0 if max_age_s is None else max_age_s)


def _path(text: str) -> list[bytes]:
    return [_label(part) for part in text.split("/") if part]


def _label(part: str) -> bytes:
    """Parse a label: text, a principal, or bytes as 0x…."""
    try:
        return bytes.fromhex(part[2:]) if part.startswith("0x") else Principal.from_text(part)
    except (ValueError, Malformed):
        return part.encode()


def _show(certificate: Certificate, checks: _Checks) -> None:
    now_ns = time.time_ns()
    problem = _problem(certificate, checks, now_ns)
    subnet = None if certificate.subnet_id is None else str(Principal(certificate.subnet_id))
    plain = {
        "bytes": len(certificate.raw),
        "time_ns": certificate.time_ns,
        "digest": certificate.hash_tree.digest.hex(),
        "subnet": subnet,
        "holds": problem is None,
        "problem": None if problem is None else str(problem),
    }
    print_result(plain, _lines(certificate, checks, problem, now_ns))
    if problem:
        raise SystemExit(1)


def _lines(certificate: Certificate, checks: _Checks, problem: GatewayError | None, now_ns: int) -> Iterator[str]:
    yield f"certificate of {len(certificate.raw)} bytes"
    yield f"time:        {time_text(certificate.time_ns)}, {age_text(now_ns - certificate.time_ns)}"
    yield f"tree digest: {certificate.hash_tree.digest.hex()}"
    yield f"signed by:   {_signer(certificate)}"
    yield f"verdict:     {_verdict(problem, checks)}"
    yield "tree:"
    yield from (f"  {line}" for line in tree_lines(certificate.tree))


def _signer(certificate: Certificate) -> str:
    if certificate.delegation is None or certificate.subnet_id is None:
        return "the root key"
    since = time_text(certificate.delegation.time_ns)
    return f"subnet {Principal(certificate.subnet_id)}, to which the root key delegated (as of {since})"


def _problem(certificate: Certificate, checks: _Checks, now_ns: int) -> GatewayError | None:
    """Return why the certificate is not valid; None if it is."""
    limit_ns = NO_LIMIT_NS if checks.max_age_s is None else int(checks.max_age_s * 1e9)
    try:
        verifier = Verifier(checks.root_key, max_age_ns=limit_ns, max_ahead_ns=limit_ns)
        if checks.canister_id is not None:
            verifier.verify_certificate(certificate.raw, checks.canister_id, now_ns=now_ns)
        else:
            # Without a delegation the root subnet signed, whose id is derived from the root key.
            subnet_id = certificate.subnet_id or Principal.self_authenticating(checks.root_key)
            verifier.verify_subnet_certificate(certificate.raw, subnet_id, now_ns=now_ns)
    except (CertificateError, Malformed) as error:
        return error
    return None


def _verdict(problem: GatewayError | None, checks: _Checks) -> str:
    if problem:
        return f"NOT VALID: {problem}"
    key = (
        "the mainnet's root key"
        if checks.root_key == MAINNET_ROOT_KEY
        else f"root key {checks.root_key[-96:].hex()[:16]}…"
    )
    scope = (
        f"valid for canister {checks.canister_id}"
        if checks.canister_id is not None
        else "canister not checked (--canister)"
    )
    age = "age not checked (--max-age)" if checks.max_age_s is None else f"not older than {checks.max_age_s:g} s"
    return f"valid under {key}; {scope}; {age}"
