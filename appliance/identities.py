"""The gateway's identity, as a part that follows the configuration: a reload rotates it while sessions stay."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from weakref import WeakSet

import structlog

from appliance.config.files import Content, digest_of
from appliance.config.load import Loaded
from appliance.config.schema import Config
from appliance.crypto import CertifiedTree, Verifier
from appliance.errors import ConfigError, ConfigProblem, JournalUnusable, KeyUnusable
from appliance.gateway.gateway import Gateway
from appliance.gateway.journal.journal import Journal, NoJournal
from appliance.ic.agent import Agent
from appliance.ic.http.transport import HttpTransport
from appliance.ic.identity import KeyIdentity
from appliance.ic.key_source import identity_of
from appliance.ic.principal import Principal
from appliance.private_files import file_of, is_file
from appliance.threads import FILE_TIMEOUT_S, FILES

_log = structlog.get_logger(__name__)


class Identities:
    """The present agent, which signs what concerns no session, and those of sessions that began with earlier keys."""

    def __init__(
        self,
        gateway: Gateway,
        agent: Agent,
        transport: HttpTransport,
        *,
        rotated: Callable[[KeyIdentity], None] = lambda _: None,
    ) -> None:
        """``agent`` is the one that the gateway was made with. ``rotated`` is called with each identity that is used
        from then on.
        """
        self._rotated = rotated
        self.agent = agent
        self._gateway = gateway
        self._transport = transport
        self._agents = WeakSet([agent])
        self._read = _read_of(gateway.config.gateway.identity)

    async def prepare(self, new: Config) -> "PreparedIdentity":
        """Raises ConfigError for a key that cannot be used and, where one is named, for a journal that cannot."""
        source = new.gateway.identity
        read = await _read_now(source)
        if read == self._read:  # also a pipe, which can be read once
            return PreparedIdentity(self, read)
        identity = await _loaded(source)
        if identity.principal == self._gateway.principal:
            return PreparedIdentity(self, read)
        agent = Agent(self._transport, identity, self._gateway.verifier)
        try:
            journal = await open_journal(new, identity.principal)
        except JournalUnusable as error:
            raise ConfigError([ConfigProblem("", "gateway.journal", str(error))]) from error
        return PreparedIdentity(self, read, agent, journal, identity)

    async def will_be_those_of(self, new: Config) -> bool:
        """Whether a process that starts with this configuration has the present identity and its journal.

        Only a file tells: what systemd or the environment passes to the next process may be another key.
        """
        present, coming = self._gateway.config.gateway, new.gateway
        if not is_file(coming.identity) or (present.identity, present.journal) != (coming.identity, coming.journal):
            return False
        try:
            return await _read_now(coming.identity) == self._read
        except ConfigError:
            return False

    def follow(self, verifier: Verifier) -> None:
        """Verify certificates with another verifier from now on."""
        for agent in self._agents:
            agent.follow(verifier)

    def use(
        self,
        read: tuple[Path, str | None],
        agent: Agent | None,
        journal: Journal | NoJournal | None,
        identity: KeyIdentity | None,
    ) -> bool:
        """Use a prepared identity from now on. Returns whether its journal is used."""
        self._read = read
        if agent is None or journal is None:
            return False
        before, is_used = self._gateway.principal, self._gateway.rotate(agent.principal, agent, journal)
        self.agent = agent
        self._agents.add(agent)
        if identity is not None:
            self._rotated(identity)
        _log.info("the identity is rotated: new sessions use it", principal=str(agent.principal), before=str(before))
        return is_used

    # --- health.checks.Ic -------------------------------------------------------------------------------------------

    async def status(self) -> Mapping[str, object]:
        """As ``Agent.status``."""
        return await self.agent.status()

    async def read_state(
        self, paths: Sequence[Sequence[bytes]], canister_id: bytes, *, timeout_s: float | None = None
    ) -> CertifiedTree:
        """As ``Agent.read_state``."""
        return await self.agent.read_state(paths, canister_id, timeout_s=timeout_s)


class PreparedIdentity:
    """A key that was read, and unless its principal is the present one, an agent that signs with it and a journal."""

    def __init__(
        self,
        identities: Identities,
        read: tuple[Path, str | None],
        agent: Agent | None = None,
        journal: Journal | NoJournal | None = None,
        identity: KeyIdentity | None = None,
    ) -> None:
        self._identities = identities
        self._identity = identity
        self._read = read
        self._agent = agent
        self._journal = journal

    def commit(self) -> None:
        """Use it for sessions from now on."""
        if self._identities.use(self._read, self._agent, self._journal, self._identity):
            self._journal = None

    async def rollback(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            await self._journal.close()

    async def cleanup(self) -> None:
        """Close the journal, if the gateway uses an earlier one of the same identity."""
        await self.rollback()


def with_created_key(loaded: Loaded) -> Loaded:
    """The configuration of a start, once the key exists: one that the start has created is no change to be planned."""
    key, file = "gateway.identity", file_of(loaded.config.gateway.identity)
    if file is None or key in loaded.contents or (digest := digest_of(file)) is None:
        return loaded
    return replace(loaded, contents={**loaded.contents, key: Content(file, digest)})


async def open_journal(config: Config, principal: Principal) -> Journal | NoJournal:
    """The journal of the clients of an identity. Raises JournalUnusable.

    Where the configuration does not name its file, a folder that cannot be written is no reason to go without service:
    the identity may be a read-only secret.
    """
    file, problem = config.gateway.journal, "gateway.journal names no file, and gateway.identity none to lie beside"
    if file is not None:
        return await Journal.opened(file, principal, clock=time.time_ns)
    try:
        if (file := default_journal(config.gateway.identity, os.environ)) is not None:
            return await Journal.opened(file, principal, clock=time.time_ns)
    except JournalUnusable as error:
        problem = str(error)
    _log.warning("clients are not kept on disk: a crash leaves them behind in their canisters", cause=problem)
    return NoJournal()


def default_journal(identity: Path, environment: Mapping[str, str]) -> Path | None:
    """The journal of a configuration that names none: beside the key, or in the state directory of the unit."""
    if is_file(identity):
        return identity.with_suffix(".journal")
    folder = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(folder) / "identity.journal" if folder else None


async def _loaded(source: Path) -> KeyIdentity:
    try:
        async with asyncio.timeout(FILE_TIMEOUT_S):
            return await FILES.run(identity_of, source)
    except (KeyUnusable, TimeoutError) as error:
        problem = str(error) or f"{source} cannot be read within {FILE_TIMEOUT_S:g} s"
        raise ConfigError([ConfigProblem("", "gateway.identity", problem)]) from error


async def _read_now(source: Path) -> tuple[Path, str | None]:
    try:
        async with asyncio.timeout(FILE_TIMEOUT_S):
            return await FILES.run(_read_of, source)
    except TimeoutError:
        problem = f"{source} cannot be read within {FILE_TIMEOUT_S:g} s"
        raise ConfigError([ConfigProblem("", "gateway.identity", problem)]) from None


def _read_of(source: Path) -> tuple[Path, str | None]:
    """By which a reload sees that the key was changed: where it comes from, and a digest if that is a file."""
    file = file_of(source)
    return source, None if file is None else digest_of(file)
