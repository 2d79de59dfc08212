"""``icws doctor``: diagnoses problems and suggests fixes."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from appliance.cli import loop
from appliance.cli.configure.explained_key import nearest_key
from appliance.cli.diagnosis import machine, message, network
from appliance.cli.diagnosis.canister import Examination
from appliance.cli.diagnosis.findings import Finding, fault, note, ok, warning
from appliance.cli.diagnosis.plugins import check_plugins
from appliance.cli.diagnosis.session import opened
from appliance.cli.output.formatting import counted
from appliance.cli.output.terminal import echo, json_text, styled, terminal_width
from appliance.cli.remote.api_options import RemoteCommand, api_address, client, config_file, wants_json
from appliance.cli.remote.arguments import complete_canister
from appliance.config.load import load
from appliance.config.schema import Config
from appliance.control.models import Status
from appliance.crypto import Verifier
from appliance.errors import ConfigError, GatewayError, Malformed
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import AnonymousIdentity, Identity
from appliance.ic.key_file import load_identity
from appliance.ic.network import resolve_root_key
from appliance.ic.principal import Principal
from appliance.private_files import why_hidden

MOST_CANISTERS = 20
"""Listed canisters that are checked by default: each takes several requests."""


@click.command(cls=RemoteCommand)
@click.argument("canister", required=False, shell_complete=complete_canister)
@click.option(
    "--open", "opens", is_flag=True, help="Open a session with CANISTER through the gateway, to get a message."
)
@click.option("--offline", is_flag=True, help="Check this machine only.")
def doctor(canister: str | None, *, opens: bool, offline: bool) -> None:
    """Diagnose this gateway, the network and its canisters, and suggest fixes.

    Checks the configuration, its files, addresses, plugins, limits and clock, the running gateway, each endpoint with
    its root key, and the listed canisters. With CANISTER (principal or name), also verifies its newest message step by
    step.

    Nothing is changed, except by --open: the canister then registers a client with a temporary key, and ws_close
    removes it again.

    Exit code 1: something does not work.
    """
    if opens and (canister is None or offline):
        raise click.UsageError("--open needs CANISTER and excludes --offline")
    report = _Report()
    loop.run(_examine(report, canister, opens=opens, offline=offline))
    report.end()


@dataclass
class _Report:
    """Collects findings and prints each at once."""

    findings: list[tuple[str, Finding]] = field(default_factory=list)
    topic: str = ""

    def add(self, topic: str, finding: Finding) -> None:
        """Add a finding, and print it below its topic unless the output is JSON."""
        self.findings.append((topic, finding))
        if wants_json():
            return
        if topic != self.topic:
            echo(f"{'' if not self.topic else chr(10)}{styled(topic, bold=True)}")
            self.topic = topic
        for line in finding.lines(terminal_width()):
            echo(line)
        sys.stdout.flush()

    def end(self) -> None:
        """Print the totals, or all findings as JSON. Exits with code 1 after a fault."""
        levels = [finding.level for _, finding in self.findings]
        if wants_json():
            echo(json_text([{"topic": topic, **finding.as_json()} for topic, finding in self.findings]))
        else:
            echo(f"\n{counted(levels.count('fault'), 'fault')}, {counted(levels.count('warning'), 'warning')}")
        if "fault" in levels:
            raise SystemExit(1)


async def _examine(report: _Report, canister: str | None, *, opens: bool, offline: bool) -> None:
    config, status = _on_this_machine(report)
    if config is None:
        return
    async for finding in check_plugins(config, config_file().absolute().parent):
        report.add("plugins", finding)
    if offline:
        return
    chosen = list(_chosen(config, canister))
    known = [principal for _, principal in chosen]
    for url in config.network.url:
        async for finding in network.check_endpoint(config, url, known):
            report.add(f"network {url}", finding)
    async with _agent(config) as (agent, root_key, is_anonymous):
        if agent is None:
            report.add("canisters", note("skipped", "the root key is unknown, see above"))
            return
        for name, principal in chosen:
            topic = f"canister {name}" if name == str(principal) else f"canister {name} ({principal})"
            examination = Examination(
                principal,
                config.named(name),
                agent,
                is_anonymous=is_anonymous,
                allows_unlisted=config.unlisted_canisters == "allow",
            )
            async for finding in examination.findings():
                report.add(topic, finding)
            if canister is not None:
                await _verify_message(report, config, status, examination, root_key, opens=opens)
    if canister is None and len(config.canisters) > MOST_CANISTERS:
        report.add(
            "canisters", note("others", f"only the first {MOST_CANISTERS} were checked; name a canister to check it")
        )


def _on_this_machine(report: _Report) -> tuple[Config | None, Status | None]:
    file = config_file()
    config = _configuration(report, file)
    status = None
    # An invalid file says nothing about the gateway: it may still run the revision before.
    with_plane = config is None or bool(config.control.listen)
    if with_plane:
        try:
            status, findings = machine.check_gateway(client())
            pid = machine.process_id(api_address().url)
        except click.ClickException as error:
            findings, pid = [note("gateway", error.format_message())], None
        for finding in findings:
            report.add("gateway", finding)
    if config is None:
        return None, None
    for finding in _machine(config, status, pid if with_plane else None):
        report.add("this machine", finding)
    return config, status


def _configuration(report: _Report, file: Path) -> Config | None:
    topic = "configuration"
    is_missing = why_hidden(file) is None and not file.exists()
    if is_missing:
        report.add(
            topic,
            note("file", f"{file} does not exist: the checks use the defaults", "icws config default > gateway.yaml"),
        )
    try:
        loaded = load(None if is_missing else file, environment=os.environ)
    except ConfigError as error:
        for problem in error.problems:
            known = nearest_key(problem.key)
            report.add(topic, fault("file", str(problem), f"icws config explain {known}" if known else ""))
        return None
    config = loaded.config
    if not is_missing:
        report.add(topic, ok("file", f"{file} is valid"))
    for problem in loaded.warnings:
        report.add(topic, warning("file", str(problem), "`icws check` prints it too"))
    if not config.canisters and config.unlisted_canisters == "deny":
        report.add(
            topic, warning("canisters", "none is listed: no client can open a session", "canisters: [{id: …, name: …}]")
        )
    for subject in ("certificates", "envelopes", "queries"):
        mode = getattr(config.verification, subject)
        if mode != "enforce":
            text = f"verification.{subject} is {mode}: data that fails verification is passed on"
            report.add(topic, warning("verification", text, f"verification.{subject}: enforce"))
    return config


def _machine(config: Config, status: Status | None, pid: int | None) -> Iterator[Finding]:
    yield from machine.check_files(config)
    yield from machine.check_addresses(config, status)
    yield machine.check_open_files(config, pid)


def _chosen(config: Config, canister: str | None) -> Iterator[tuple[str, Principal]]:
    """Yield names and principals of the canisters to check. Raises ClickException."""
    if canister is None:
        for each in config.canisters[:MOST_CANISTERS]:
            yield each.name or str(each.id), each.id
        return
    named = config.named(canister)
    try:
        yield canister, named.id if named else Principal.from_text(canister)
    except Malformed as error:
        raise click.ClickException(
            f"{canister!r} is neither the name of a listed canister nor a principal: {error}"
        ) from None


@asynccontextmanager
async def _agent(config: Config) -> AsyncIterator[tuple[Agent | None, bytes, bool]]:
    """Yield an agent, the root key, and whether the agent is anonymous because the gateway has no key."""
    identity: Identity
    try:
        identity, is_anonymous = load_identity(config.gateway.identity), False
    except GatewayError:
        identity, is_anonymous = AnonymousIdentity(), True
    settings = config.network
    age_ns = round(config.verification.max_certificate_age * 1e9)
    async with HttpTransport(settings.url, timeout_s=settings.timeout, max_reply=settings.max_reply) as transport:
        try:
            root_key = await resolve_root_key(settings.root_key, transport)
        except GatewayError:
            yield None, b"", is_anonymous
            return
        yield (
            Agent(transport, identity, Verifier(root_key, max_age_ns=age_ns, max_ahead_ns=age_ns)),
            root_key,
            is_anonymous,
        )


async def _verify_message(
    report: _Report, config: Config, status: Status | None, examination: Examination, root_key: bytes, *, opens: bool
) -> None:
    """Verify one message, after opening a session if that is wanted."""
    topic = "one message, step by step"
    if opens:
        async with opened(config, status, examination.canister_id, root_key) as findings:
            for finding in findings:
                report.add("a session through the gateway", finding)
            await examination.refresh()
    polled = examination.polled
    if polled is None:
        return
    if not polled.messages:
        advice = "" if opens else "open a session with a client, or with --open"
        report.add(topic, note("1 reply", "no message is queued, so there is no certificate to verify", advice))
        return
    age_s = config.verification.max_certificate_age
    now_ns = time.time_ns()
    found = await asyncio.to_thread(
        lambda: list(
            message.verification_steps(polled, examination.canister_id, root_key, max_age_s=age_s, now_ns=now_ns)
        )
    )
    for finding in found:
        report.add(topic, finding)
