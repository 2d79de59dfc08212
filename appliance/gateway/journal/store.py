"""The journal in one SQLite file. Synchronous; used by one thread at a time."""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.gateway.journal.entry import MEMORY_NS, Entry, UsedOpening
from appliance.ic.principal import Principal

FORMAT = 1
"""In ``user_version`` of the file."""
MAX_LEFT = 200_000
"""Clients that left and could not be reported. Beyond, those that left first are forgotten."""

_SCHEMA = f"""
CREATE TABLE clients (
    canister_id BLOB NOT NULL, client_key BLOB NOT NULL, generation TEXT NOT NULL, client TEXT NOT NULL,
    principal BLOB NOT NULL, close_arg BLOB NOT NULL, left_ns INTEGER, UNIQUE (canister_id, client_key)
);
CREATE TABLE openings (request_id BLOB PRIMARY KEY, expires_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX openings_by_expiry ON openings (expires_ns);
CREATE TABLE process (gateway BLOB NOT NULL, alive_ns INTEGER NOT NULL);
PRAGMA user_version = {FORMAT};
"""


@dataclass(frozen=True, slots=True)
class Removal:
    """A client that its canister does not know any more."""

    canister_id: bytes
    client_key: bytes


@dataclass(frozen=True, slots=True)
class Departure:
    """A client that left (ns since 1970), and whose canister could not be told."""

    canister_id: bytes
    client_key: bytes
    left_ns: int


Change = Entry | UsedOpening | Removal | Departure
_STATEMENTS: Mapping[type[Change], str] = {
    Entry: "INSERT OR REPLACE INTO clients VALUES"
    " (:canister_id, :client_key, :generation, :client, :principal, :close_arg, :left_ns)",
    UsedOpening: "INSERT OR IGNORE INTO openings VALUES (:request_id, :expires_ns)",
    Removal: "DELETE FROM clients WHERE canister_id = :canister_id AND client_key = :client_key",
    Departure: "UPDATE clients SET left_ns = :left_ns WHERE canister_id = :canister_id AND client_key = :client_key",
}
"""Named parameters with a mapping: from Python 3.14 on numbered ones (?1) with a sequence are an error."""


class Store:
    """Clients that canisters may know, and the opening messages that were used.

    Every method raises sqlite3.Error. What ``write`` has written outlasts a loss of power.
    """

    def __init__(self, file: Path) -> None:
        """Open or create, with mode 0600. Raises OSError and sqlite3.Error."""
        # SQLite gives its other files the mode of this one.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        self._database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        ((version,),) = self._database.execute("PRAGMA user_version")
        if version == 0:
            self._database.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        elif version != FORMAT:
            raise sqlite3.DatabaseError(f"format {version} is not known, only {FORMAT}")

    @property
    def gateway(self) -> bytes | None:
        """The principal whose journal this is; None for a new one."""
        row = self._database.execute("SELECT gateway FROM process").fetchone()
        return None if row is None else bytes(row[0])

    def claim(self, gateway: bytes) -> None:
        """Make it the journal of this principal."""
        self._database.execute("INSERT INTO process SELECT ?, 0 WHERE NOT EXISTS (SELECT 1 FROM process)", (gateway,))
        self._database.execute("UPDATE process SET gateway = ?", (gateway,))

    def write(self, changes: Iterable[Change], *, now_ns: int) -> None:
        """Make changes in this order, all or none, and note that the process lives. An entry replaces one with the same
        key.
        """
        with closing(self._database.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                for change in changes:
                    cursor.execute(_STATEMENTS[type(change)], asdict(change))
                cursor.execute("UPDATE process SET alive_ns = ?", (now_ns,))
                cursor.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk has rolled back already
                    cursor.execute("ROLLBACK")
                raise

    def prune(self, now_ns: int) -> None:
        """Forget openings that have expired, and clients whose canister has forgotten them."""
        self._database.execute("DELETE FROM openings WHERE expires_ns < ?", (now_ns,))
        for generation, memory_ns in MEMORY_NS.items():
            self._database.execute(
                "DELETE FROM clients WHERE generation = ? AND left_ns < ?", (generation, now_ns - memory_ns)
            )
        self._database.execute(
            "DELETE FROM clients WHERE rowid IN (SELECT rowid FROM clients WHERE left_ns IS NOT NULL"
            " ORDER BY left_ns DESC LIMIT -1 OFFSET ?)",
            (MAX_LEFT,),
        )

    def leave_behind(self, now_ns: int) -> list[Entry]:
        """The clients of the process before, the first to open first. From now on all of them count as gone when that
        process was last alive, and those whose canister has forgotten them since are removed.
        """
        self._database.execute("UPDATE clients SET left_ns = (SELECT alive_ns FROM process) WHERE left_ns IS NULL")
        self.prune(now_ns)
        rows = self._database.execute(
            "SELECT canister_id, client_key, generation, client, principal, close_arg, left_ns FROM clients"
            " ORDER BY rowid"
        )
        return [Entry(Principal(row[0]), *row[1:]) for row in rows]

    def openings(self, now_ns: int) -> list[UsedOpening]:
        """The opening messages that have not expired."""
        rows = self._database.execute("SELECT request_id, expires_ns FROM openings WHERE expires_ns >= ?", (now_ns,))
        return [UsedOpening(*row) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._database.close()
