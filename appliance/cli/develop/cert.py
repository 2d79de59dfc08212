"""``icws cert``: what a certificate says, and whether it holds."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from appliance.cli.output.certificate_text import (
    NO_LIMIT_NS,
    Certificate,
    age_text,
    read_certificate_file,
    time_text,
    tree_lines,
)
from appliance.cli.output.terminal import print_result
from appliance.cli.remote.api_options import json_option
from appliance.config.schema import Network
from appliance.config.units import parse_duration
from appliance.crypto import Verifier
from appliance.errors import CertificateError, GatewayError, Malformed
from appliance.ic.agent import Agent
from appliance.ic.identity import AnonymousIdentity
from appliance.ic.network import MAINNET_ROOT_KEY, resolve_root_key, root_key_warning
from appliance.ic.principal import Principal
from appliance.ic.transport import HttpTransport

DEFAULT_CANISTER = Principal.from_text("ryjl3-tyaaa-aaaaa-aaaba-cai")  # exists on the mainnet for good: the ledger
LONGEST_FILE = 16 * 1024**2


def _principal(_context: click.Context, _parameter: click.Parameter, text: str | None) -> Principal | None:
    try:
        return None if text is None else Principal.from_text(text)
    except Malformed as error:
        raise click.BadParameter(str(error)) from error


def _seconds(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@dataclass(frozen=True)
class _Question:
    """What is to be checked. Without an age limit the certificate is judged as of its own time."""

    canister_id: Principal | None
    root_key: bytes
    max_age_s: float | None


@click.group()
def cert() -> None:
    """Look into certificates of the IC."""


@cert.command()
@click.argument("source")
@click.option(
    "--canister", callback=_principal, metavar="ID", help="Check that the certificate may speak for this canister."
)
@click.option(
    "--root-key", default="mainnet", show_default=True, help="mainnet, fetch (URL only) or hexadecimal digits."
)
@click.option(
    "--max-age", callback=_seconds, metavar="DURATION", help="Refuse an older one; 5m for a URL, no limit for a file."
)
@click.option(
    "--path", "paths", multiple=True, default=["time"], show_default=True, help="What to ask a URL for, a/b/0xff."
)
@json_option
def show(source: str, canister: Principal | None, root_key: str, max_age: float | None, paths: Sequence[str]) -> None:
    """Show the certificate in SOURCE and verify it. The exit code is 1 if it does not hold.

    SOURCE is a file with a certificate or a read_state reply, or the URL of an endpoint, which is api for one.
    """
    if "://" in source:
        certificate, question = asyncio.run(_fetch(source, canister, root_key, max_age, paths))
    else:
        certificate, question = _read(Path(source)), _Question(canister, _known_key(root_key), max_age)
    _show(certificate, question)


def _known_key(setting: str) -> bytes:
    if setting == "mainnet":
        return MAINNET_ROOT_KEY
    try:
        return bytes.fromhex(setting)
    except ValueError:
        raise click.UsageError("--root-key of a file is mainnet or the key in hexadecimal digits") from None


def _read(path: Path) -> Certificate:
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error
    if len(data) > LONGEST_FILE:
        raise click.ClickException(f"{path} is too long for a certificate")
    return read_certificate_file(data)


async def _fetch(
    url: str, canister: Principal | None, root_key: str, max_age_s: float | None, paths: Sequence[str]
) -> tuple[Certificate, _Question]:
    defaults = Network()
    async with HttpTransport([url], timeout_s=defaults.timeout, max_reply=defaults.max_reply) as transport:
        key = await resolve_root_key(root_key, transport)
        warning = root_key_warning(root_key, transport.urls)
        if warning:
            click.echo(f"warning: {warning}", err=True)
        agent = Agent(transport, AnonymousIdentity(), Verifier(key))
        canister = canister or DEFAULT_CANISTER
        raw = await agent.fetch_certificate([_path(text) for text in paths], canister)
    return read_certificate_file(raw), _Question(canister, key, 300.0 if max_age_s is None else max_age_s)


def _path(text: str) -> list[bytes]:
    return [_label(part) for part in text.split("/") if part]


def _label(part: str) -> bytes:
    """A label as people write it: text, a principal, or bytes as 0x…."""
    try:
        return bytes.fromhex(part[2:]) if part.startswith("0x") else Principal.from_text(part)
    except (ValueError, Malformed):
        return part.encode()


def _show(certificate: Certificate, question: _Question) -> None:
    now_ns = time.time_ns()
    problem = _problem(certificate, question, now_ns)
    subnet = None if certificate.subnet_id is None else str(Principal(certificate.subnet_id))
    plain = {
        "bytes": len(certificate.raw),
        "time_ns": certificate.time_ns,
        "digest": certificate.hash_tree.digest.hex(),
        "subnet": subnet,
        "holds": problem is None,
        "problem": None if problem is None else str(problem),
    }
    print_result(plain, _lines(certificate, question, problem, now_ns))
    if problem:
        raise SystemExit(1)


def _lines(certificate: Certificate, question: _Question, problem: GatewayError | None, now_ns: int) -> Iterator[str]:
    yield f"certificate of {len(certificate.raw)} bytes"
    yield f"time:        {time_text(certificate.time_ns)}, {age_text(now_ns - certificate.time_ns)}"
    yield f"tree digest: {certificate.hash_tree.digest.hex()}"
    yield f"signed by:   {_signer(certificate)}"
    yield f"verdict:     {_verdict(problem, certificate, question)}"
    yield "tree:"
    yield from (f"  {line}" for line in tree_lines(certificate.tree))


def _signer(certificate: Certificate) -> str:
    if certificate.delegation is None or certificate.subnet_id is None:
        return "the root key"
    since = time_text(certificate.delegation.time_ns)
    return f"subnet {Principal(certificate.subnet_id)}, to which the root key delegated (as of {since})"


def _problem(certificate: Certificate, question: _Question, now_ns: int) -> GatewayError | None:
    """Why the certificate does not hold, or None."""
    limit_ns = NO_LIMIT_NS if question.max_age_s is None else int(question.max_age_s * 1e9)
    try:
        verifier = Verifier(question.root_key, max_age_ns=limit_ns, max_ahead_ns=limit_ns)
        if question.canister_id is not None:
            verifier.verify_certificate(certificate.raw, question.canister_id, now_ns=now_ns)
        else:
            subnet_id = certificate.subnet_id or Principal.self_authenticating(question.root_key)
            verifier.verify_subnet_certificate(certificate.raw, subnet_id, now_ns=now_ns)
    except (CertificateError, Malformed) as error:
        return error
    return None


def _verdict(problem: GatewayError | None, certificate: Certificate, question: _Question) -> str:
    if problem:
        return f"DOES NOT HOLD: {problem}"
    key = (
        "the mainnet's root key"
        if question.root_key == MAINNET_ROOT_KEY
        else f"root key {question.root_key[-96:].hex()[:16]}…"
    )
    scope = (
        f"may speak for canister {question.canister_id}"
        if question.canister_id is not None
        else "which canisters it may speak for was not api (--canister)"
    )
    age = (
        "its age was not judged (--max-age)"
        if question.max_age_s is None
        else f"not older than {question.max_age_s:g} s"
    )
    return f"holds under {key}; {scope}; {age}"
