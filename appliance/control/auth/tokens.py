"""The file of tokens: one a line, ``name role sha256``, where only the hash of a token is written."""

import asyncio
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import structlog

from appliance.config.schema import Config
from appliance.control.models import Role
from appliance.errors import ConfigError, ConfigProblem
from appliance.gateway.change import ImmediateChange
from appliance.private_files import read_bytes
from appliance.threads import FILE_TIMEOUT_S, FILES
from appliance.whole_files import write_whole

_log = structlog.get_logger(__name__)

PREFIX = "icws_"
"""Every token starts with this, so that people and secret scanners recognise one."""
MAX_BYTES = 1024**2
SETTLE_S = 2.0
"""How long a file that was written in place has to be left alone, before what is in it counts."""
WAIT_S = 1.0
"""How long a request waits for the file, once its tokens are known."""
ROLES: tuple[Role, ...] = get_args(Role)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Grant:
    """A line of the file: the holder of the token with this hash has this name and role."""

    name: str
    role: Role
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.role} {self.sha256}"


def hash_token(token: str) -> str:
    """The hash that the file holds for a token."""
    # No salt and no slow hash: a token has 256 random bits, which nobody can guess, unlike a password.
    return hashlib.sha256(token.encode()).hexdigest()


def parse_tokens(text: str, name: str) -> tuple[list[Grant], list[ConfigProblem]]:
    """The grants of a file called ``name``, and a problem for each line that is not valid. ``#`` starts a comment."""
    grants: dict[str, Grant] = {}
    problems: list[ConfigProblem] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            grant = _grant(words, grants)
        except ValueError as error:
            problems.append(ConfigProblem(f"{name}:{number}", "control.tokens", str(error)))
        else:
            grants[grant.name] = grant
    return list(grants.values()), problems


def _grant(words: list[str], taken: Collection[str]) -> Grant:
    if len(words) != 3:
        raise ValueError("write a name, a role and the SHA-256 of the token")
    name, role, sha256 = words
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:70]!r} is not a name: use letters, digits, dots, dashes and underscores")
    if name in taken:
        raise ValueError(f"the name {name} appears twice")
    if role not in ROLES:
        raise ValueError(f"{role[:70]!r} is not a role: use viewer, operator or admin")
    if not _HASH.fullmatch(sha256.lower()):
        raise ValueError("the SHA-256 of the token has 64 hexadecimal digits; the token itself does not belong here")
    return Grant(name, role, sha256.lower())


class Tokens:
    """The tokens of the API. The file is read again whenever it has changed.

    A line that is not valid is logged and skipped; a file that cannot be read is logged and gives access to nobody.
    A file that is being written in place may be the first half of one: the grants before stay until it has been left
    alone for ``SETTLE_S``. One that is replaced, as `icws tokens` and most editors do, counts at once. A file system
    that does not answer leaves the grants as they were.

    `find`, `add`, `remove` and iteration read the file where they are called: in a thread, or in a command. `lookup`
    and `grants` are for the event loop.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        """``clock`` is seconds since 1970, as the times of files are."""
        self.path = path
        self._clock = clock
        self._grants: list[Grant] = []
        self._seen: tuple[Path | None, tuple[int, ...]] | None = None
        self._changing = threading.Lock()
        self._is_late = False

    def __iter__(self) -> Iterator[Grant]:
        self._refresh()
        return iter(list(self._grants))

    def find(self, token: str) -> Grant | None:
        """The grant of a token, None if there is none. Takes the same time for every token."""
        self._refresh()
        return self._find(token)

    async def lookup(self, token: str) -> Grant | None:
        """As `find`, without holding up the event loop."""
        await self._refresh_in_time()
        return self._find(token)

    async def grants(self) -> list[Grant]:
        """All of them."""
        await self._refresh_in_time()
        return self._grants

    def _find(self, token: str) -> Grant | None:
        sha256, found = hash_token(token), None
        for grant in self._grants:
            if hmac.compare_digest(grant.sha256, sha256):  # and no break: its position must not show in the time
                found = grant
        return found

    def check(self) -> None:
        """Raises ConfigError if the file cannot be read or a line of it is not valid."""
        if self.path is not None:
            _, problems = parse_tokens(_read(self.path), str(self.path))
            if problems:
                raise ConfigError(problems)

    async def prepare(self, new: Config) -> ImmediateChange:
        """Get ready to use the file of another configuration. Raises ConfigError."""
        path = new.control.tokens
        try:
            async with asyncio.timeout(FILE_TIMEOUT_S):
                await FILES.run(Tokens(path).check)
        except TimeoutError:
            problem = f"cannot be read within {FILE_TIMEOUT_S:g} s"
            raise ConfigError([ConfigProblem(str(path), "control.tokens", problem)]) from None
        return ImmediateChange(partial(self.use, path))

    def use(self, path: Path | None) -> None:
        """Read this file from now on."""
        self.path = path

    def add(self, name: str, role: Role) -> str:
        """Make a token and return it; only its hash is stored. Raises ValueError for a name that is taken, and
        OSError.
        """
        token = PREFIX + secrets.token_urlsafe(32)
        with self._changing:
            if any(grant.name == name for grant in self):
                raise ValueError(f"there is a token named {name} already")
            self._write([*self._lines(), str(Grant(name, role, hash_token(token)))])
        return token

    def remove(self, name: str) -> None:
        """Remove a token. Raises KeyError if there is none of this name, and OSError."""
        with self._changing:
            if all(grant.name != name for grant in self):
                raise KeyError(name)
            self._write([line for line in self._lines() if line.partition("#")[0].split()[:1] != [name]])

    def _is_being_written(self, state: tuple[Path | None, tuple[int, ...]]) -> bool:
        """Whether the same file as before was changed a moment ago."""
        if self._seen is None or state[0] != self._seen[0] or state[1][:1] != self._seen[1][:1] or len(state[1]) < 2:
            return False
        return 0 <= self._clock() - state[1][2] / 1e9 < SETTLE_S

    def _lines(self) -> list[str]:
        return _read(self._file()).splitlines() if self._file().exists() else []

    def _file(self) -> Path:
        if self.path is None:
            raise FileNotFoundError("no file of tokens is configured (control.tokens)")
        return self.path

    def _write(self, lines: list[str]) -> None:
        write_whole(self._file().resolve(), "".join(f"{line}\n" for line in lines).encode(), mode=0o600)

    async def _refresh_in_time(self) -> None:
        try:
            await FILES.run_once(self, self._refresh, FILE_TIMEOUT_S if self._seen is None else WAIT_S)
        except OSError as error:
            if not self._is_late:
                _log.warning(
                    "tokens: the file is not read in time, those that were known count",
                    file=str(self.path),
                    cause=str(error) or "its file system does not answer",
                )
            self._is_late = True
        else:
            self._is_late = False

    def _refresh(self) -> None:
        state = (self.path, _state(self.path))
        if state == self._seen or self._is_being_written(state):
            return
        grants, problems = list[Grant](), list[ConfigProblem]()
        if self.path is not None:
            try:
                grants, problems = parse_tokens(_read(self.path), str(self.path))
            except ConfigError as error:
                problems = error.problems
        self._grants, self._seen = grants, state  # replaced whole: `add` and `remove` run in other threads
        for problem in problems:
            _log.warning("tokens: this gives access to nobody", place=problem.place, problem=problem.problem)


def _state(path: Path | None) -> tuple[int, ...]:
    """Changes whenever the file does."""
    if path is None:
        return ()
    try:
        facts = path.stat()
    except OSError:
        return (0,)
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _read(path: Path) -> str:
    try:
        return read_bytes(path, MAX_BYTES).decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError([ConfigProblem(str(path), "control.tokens", f"cannot be read: {error.strerror}")]) from None
