"""``icws doctor``: what is wrong, and what to do about it."""

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
from appliance.cli.diagnosis.session import opened
from appliance.cli.output.formatting import counted
from appliance.cli.output.terminal import json_text, terminal_width
from appliance.cli.remote.api_options import RemoteCommand, client, config_file, place, wants_json
from appliance.cli.remote.arguments import complete_canister
from appliance.config.load import load
from appliance.config.schema import Config
from appliance.control.models import Status
from appliance.crypto import Verifier
from appliance.errors import ConfigError, GatewayError, Malformed
from appliance.ic.agent import Agent
from appliance.ic.identity import AnonymousIdentity, Identity, load_identity
from appliance.ic.network import resolve_root_key
from appliance.ic.principal import Principal
from appliance.ic.transport import HttpTransport

MOST_CANISTERS = 20
"""Listed ones that are looked at without being named."""


@click.command(cls=RemoteCommand)
@click.argument("canister", required=False, shell_complete=complete_canister)
@click.option(
    "--open", "opens", is_flag=True, help="Open a session with CANISTER through the gateway, to have a message."
)
@click.option("--offline", is_flag=True, help="Look at this machine only.")
def doctor(canister: str | None, *, opens: bool, offline: bool) -> None:
    """Find out what is wrong with this gateway, the network or a canister, and what to do about it.

    Looks at the configuration, its files, addresses, limits and clock, at the gateway that runs, at each endpoint and
    its root key, and at the canisters that are listed. CANISTER (principal or name) is looked at closely: its methods,
    whether it knows this gateway, and the proof of its newest message, step by step. Nothing is changed anywhere, but
    by --open: that makes the canister let in a client, with a key that is thrown away, and tells it when it leaves.

    Exit code 1: something does not work.
    """
    if opens and (canister is None or offline):
        raise click.UsageError("--open goes with CANISTER")
    report = _Report()
    loop.run(_examine(report, canister, opens=opens, offline=offline))
    report.end()


@dataclass
class _Report:
    """Prints findings as they come."""

    findings: list[tuple[str, Finding]] = field(default_factory=list)
    topic: str = ""

    def add(self, topic: str, finding: Finding) -> None:
        """Under its topic."""
        self.findings.append((topic, finding))
        if wants_json():
            return
        if topic != self.topic:
            click.echo(f"{'' if not self.topic else chr(10)}{click.style(topic, bold=True)}")
            self.topic = topic
        for line in finding.lines(terminal_width()):
            click.echo(line)
        sys.stdout.flush()

    def end(self) -> None:
        """The sum, and the exit code."""
        levels = [finding.level for _, finding in self.findings]
        if wants_json():
            click.echo(json_text([{"topic": topic, **finding.plain()} for topic, finding in self.findings]))
        else:
            click.echo(f"\n{counted(levels.count('fault'), 'fault')}, {counted(levels.count('warning'), 'warning')}")
        if "fault" in levels:
            raise SystemExit(1)


async def _examine(report: _Report, canister: str | None, *, opens: bool, offline: bool) -> None:
    config, status = _on_this_machine(report)
    if offline or config is None:
        return
    chosen = list(_chosen(config, canister))
    known = [principal for _, principal in chosen]
    for url in config.network.url:
        async for finding in network.of_endpoint(config, url, known):
            report.add(f"network {url}", finding)
    async with _asking(config) as (agent, root_key, is_stranger):
        if agent is None:
            report.add("canisters", note("not looked at", "as the root key is not known; see above"))
            return
        for name, principal in chosen:
            topic = f"canister {name}" if name == str(principal) else f"canister {name} ({principal})"
            examination = Examination(
                principal,
                config.named(name),
                agent,
                is_stranger=is_stranger,
                is_open_to_all=config.unlisted_canisters == "allow",
            )
            async for finding in examination.findings():
                report.add(topic, finding)
            if canister is not None:
                await _prove(report, config, status, examination, root_key, opens=opens)
    if canister is None and len(config.canisters) > MOST_CANISTERS:
        report.add("canisters", note("others", f"only the first {MOST_CANISTERS} were looked at; name others"))


def _on_this_machine(report: _Report) -> tuple[Config | None, Status | None]:
    file = config_file()
    config = _configuration(report, file)
    status = None
    with_plane = config is None or config.control.listen is not None
    if with_plane:
        try:
            status, findings = machine.of_gateway(client())
            pid = machine.process_id(place().url)
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
    if not file.exists():
        report.add(
            topic,
            note(
                "file", f"there is no {file}: what follows goes by the defaults", "icws config default > gateway.yaml"
            ),
        )
    try:
        config = load(file if file.exists() else None, environment=os.environ).config
    except ConfigError as error:
        for problem in error.problems:
            known = nearest_key(problem.key)
            report.add(topic, fault("file", str(problem), f"icws config explain {known}" if known else ""))
        return None
    if file.exists():
        report.add(topic, ok("file", f"{file} can be used"))
    if not config.canisters and config.unlisted_canisters == "deny":
        report.add(
            topic, warning("canisters", "none is listed: no client can open a session", "canisters: [{id: …, name: …}]")
        )
    for subject in ("certificates", "envelopes"):
        mode = getattr(config.verification, subject)
        if mode != "enforce":
            text = f"verification.{subject} is {mode}: what does not verify is passed on"
            report.add(topic, warning("verification", text, f"verification.{subject}: enforce"))
    return config


def _machine(config: Config, status: Status | None, pid: int | None) -> Iterator[Finding]:
    yield from machine.of_files(config)
    yield from machine.of_addresses(config, status)
    yield machine.of_limits(config, pid)


def _chosen(config: Config, canister: str | None) -> Iterator[tuple[str, Principal]]:
    """Names and principals of what is to be looked at. Raises ClickException."""
    if canister is None:
        for each in config.canisters[:MOST_CANISTERS]:
            yield each.name or str(each.id), each.id
        return
    named = config.named(canister)
    try:
        yield canister, named.id if named else Principal.from_text(canister)
    except Malformed as error:
        raise click.ClickException(
            f"{canister!r} is the name of no listed canister, and as a principal: {error}"
        ) from None


@asynccontextmanager
async def _asking(config: Config) -> AsyncIterator[tuple[Agent | None, bytes, bool]]:
    """Who asks canisters: the gateway itself where it has a key, else nobody in particular."""
    identity: Identity
    try:
        identity, is_stranger = load_identity(config.gateway.identity), False
    except GatewayError:
        identity, is_stranger = AnonymousIdentity(), True
    settings = config.network
    age_ns = round(config.verification.max_certificate_age * 1e9)
    async with HttpTransport(settings.url, timeout_s=settings.timeout, max_reply=settings.max_reply) as transport:
        try:
            root_key = await resolve_root_key(settings.root_key, transport)
        except GatewayError:
            yield None, b"", is_stranger
            return
        yield (
            Agent(transport, identity, Verifier(root_key, max_age_ns=age_ns, max_ahead_ns=age_ns)),
            root_key,
            is_stranger,
        )


async def _prove(
    report: _Report, config: Config, status: Status | None, examination: Examination, root_key: bytes, *, opens: bool
) -> None:
    """The proof of one message."""
    topic = "one message, step by step"
    if opens:
        async with opened(config, status, examination.canister_id, root_key) as findings:
            for finding in findings:
                report.add("a session through the gateway", finding)
            await examination.poll_again()
    polled = examination.polled
    if polled is None:
        return
    if not polled.messages:
        advice = "" if opens else "a client that opens a session gets one, and so does --open"
        report.add(topic, note("1 reply", "no message waits, so that there is no certificate to look at", advice))
        return
    age_s = config.verification.max_certificate_age
    now_ns = time.time_ns()
    found = await asyncio.to_thread(
        lambda: list(message.steps(polled, examination.canister_id, root_key, max_age_s=age_s, now_ns=now_ns))
    )
    for finding in found:
        report.add(topic, finding)
