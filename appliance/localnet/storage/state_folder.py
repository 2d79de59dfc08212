"""A local network on disk. After a crash at any point there is the new state or the one before, whole.

``current`` names the folder with the state and holds the digest of its manifest, which lists every file with size and
checksum. A new state is a new folder beside it, with hard links to files that have not changed. It is complete on the
disk (fsync of files and folders) before ``current`` is replaced, and the old folder is deleted only after that.
"""

import fcntl
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

from appliance.errors import GatewayError, Malformed
from appliance.ic.principal import Principal
from appliance.localnet.canisters.record import CanisterRecord
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.certification import Authority
from appliance.localnet.storage import canister_folder
from appliance.localnet.storage.canister_folder import CanisterUnreadable

FORMAT = 1
CURRENT, LOCK, MANIFEST, NET_FILE = "current", "lock", "manifest.json", "net.json"
SNAPSHOT = "state-"
NOTHING = "nothing yet\n"
"""The content of ``current`` before the first state is complete. Without it, a folder whose ``current`` was lost could
not be distinguished from one whose first save was interrupted."""
PIECE = 1 << 20
RecordVersion: TypeAlias = tuple[CanisterRecord, int, int]


class StateUnusable(GatewayError):
    """The folder of a local network cannot be used."""

    folder: Path
    problem: str
    sentence = "the state of the local network in {folder} cannot be used: {problem}"


@dataclass(frozen=True)
class NetworkInfo:
    """The network besides its canisters. ``seed`` is the secret behind its keys, so the folder is private."""

    seed: bytes
    is_delegated: bool
    time_ns: int = 0
    ahead_ns: int = 0
    next_number: int = 0


class StateFolder:
    """Reads the state when created and writes new ones. Holds a lock on the folder until it is closed.

    Raises StateUnusable where the folder is in use or damaged, OSError where it cannot be made or read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = self._take()
        self._number = 0
        self._snapshot: Path | None = None
        self._manifest: dict[str, Any] = {}
        self._written: dict[Principal, RecordVersion] = {}
        self._written_network: NetworkInfo | None = None
        try:
            self.network = self._read()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the lock; does nothing the second time."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def authority(self, *, subnet: bool | None, seed: bytes | None, nodes: int = 1) -> Authority:
        """The saved keys, or new ones. ``subnet`` None is as it was saved, for new ones a subnet key.

        Raises StateUnusable where other keys are wanted than were saved.
        """
        if self.network is None:
            return Authority(subnet=subnet is not False, seed=seed, nodes=nodes)
        if seed not in (None, self.network.seed):
            raise StateUnusable(self.folder, "it was made with another seed, leave the seed out")
        if subnet not in (None, self.network.is_delegated):
            wanted = "with" if self.network.is_delegated else "without"
            raise StateUnusable(self.folder, f"it was made {wanted} a subnet key of its own, do the same again")
        return Authority(subnet=self.network.is_delegated, seed=self.network.seed, nodes=nodes)

    def restore(self, replica: Replica, *, cache: Path | None) -> None:
        """Restore the saved state into a new replica. Raises StateUnusable, and WasmtimeMissing without wasmtime."""
        if self.network is None or self._snapshot is None:
            return
        replica.state.resume(self.network.time_ns)
        replica.next_number = self.network.next_number
        for name in self._manifest["canisters"]:
            try:
                canister_id = Principal.from_text(name)
                canister_folder.restore(replica, canister_id, self._snapshot / name, cache=cache)
            except (CanisterUnreadable, Malformed) as error:
                raise StateUnusable(self.folder, str(error)) from error
            self._written[canister_id] = _version_of(replica.canisters[canister_id])

    def save(self, replica: Replica) -> bool:
        """Write the current state; False where nothing but the time has changed. Raises OSError that names a file."""
        with _naming(self.folder):
            return self._save(replica)

    def _save(self, replica: Replica) -> bool:
        records = {record.canister_id: record for record in replica.canisters if canister_folder.is_saved(record)}
        network = _network_info(replica)
        if self._snapshot is not None and not self._has_changed(records, network):
            return False
        self._number += 1
        target = self.folder / f"{SNAPSHOT}{self._number}"
        shutil.rmtree(target, ignore_errors=True)
        try:
            target.mkdir(mode=0o700)
            files = self._write(replica, records, network, target)
            manifest = {"format": FORMAT, "canisters": [str(name) for name in records], "files": files}
            text = json.dumps(manifest)
            _write_synced(target / MANIFEST, text)
            _sync(target)
            self._point(f"{target.name} {sha256(text.encode()).hexdigest()}\n")
        except OSError:  # a part must not take the room of the next attempt on a full disk
            shutil.rmtree(target, ignore_errors=True)
            raise
        _sync(self.folder)
        self._snapshot, self._manifest, self._written_network = target, manifest, network
        self._written = {canister_id: _version_of(record) for canister_id, record in records.items()}
        self._tidy()
        return True

    # --- steps ---

    def _point(self, text: str) -> None:
        """Replace ``current`` in one step: a rename is atomic, a write is not. Where it raises OSError, ``current`` is
        as it was. The caller syncs the folder."""
        _write_synced(self.folder / f"{CURRENT}.new", text)
        (self.folder / f"{CURRENT}.new").replace(self.folder / CURRENT)

    def _take(self) -> int:
        lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            taken = isinstance(error, BlockingIOError)
            problem = "another local network is using it" if taken else f"it cannot be locked: {error.strerror}"
            raise StateUnusable(self.folder, problem) from None
        return lock

    def _read(self) -> NetworkInfo | None:
        """Check every file against the manifest; None for a folder without a complete state."""
        current = self.folder / CURRENT
        if not current.exists():
            if any(self.folder.glob(f"{SNAPSHOT}*")):
                raise StateUnusable(self.folder, f"the file {CURRENT} is missing")
            self._point(NOTHING)
            _sync(self.folder)
        try:
            if current.read_text() == NOTHING:
                return None
            name, digest = current.read_text().split()
            snapshot = self.folder / name
            self._number = int(name.removeprefix(SNAPSHOT))
            text = (snapshot / MANIFEST).read_bytes()
            if sha256(text).hexdigest() != digest:
                raise StateUnusable(self.folder, f"{name}/{MANIFEST} is not what was written")
            self._manifest = json.loads(text)
            self._check_files(snapshot)
            network = json.loads((snapshot / NET_FILE).read_text())
            network["seed"] = bytes.fromhex(network["seed"])
            self._snapshot, self._written_network = snapshot, NetworkInfo(**network)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateUnusable(self.folder, f"{type(error).__name__}: {error}") from error
        return self._written_network

    def _check_files(self, snapshot: Path) -> None:
        if self._manifest["format"] != FORMAT:
            raise StateUnusable(self.folder, f"its format is {self._manifest['format']}, this program reads {FORMAT}")
        for name, wanted in self._manifest["files"].items():
            if _checksum(snapshot / name) != wanted:
                raise StateUnusable(self.folder, f"{snapshot.name}/{name} is not what was written")

    def _has_changed(self, records: dict[Principal, CanisterRecord], network: NetworkInfo) -> bool:
        kept = self._written_network
        is_moved = kept is None or (kept.ahead_ns, kept.next_number) != (network.ahead_ns, network.next_number)
        return is_moved or records.keys() != self._written.keys() or not all(map(self._is_written, records.values()))

    def _is_written(self, record: CanisterRecord) -> bool:
        return self._written.get(record.canister_id) == _version_of(record)

    def _write(
        self, replica: Replica, records: dict[Principal, CanisterRecord], network: NetworkInfo, target: Path
    ) -> dict[str, list[int]]:
        _write_synced(target / NET_FILE, json.dumps({**network.__dict__, "seed": network.seed.hex()}))
        files = {NET_FILE: _checksum(target / NET_FILE)}
        for canister_id, record in records.items():
            folder = target / str(canister_id)
            folder.mkdir(mode=0o700)
            if self._snapshot is not None and self._is_written(record):
                files |= self._link(self._snapshot / str(canister_id), folder)
                continue
            path = (b"canister", canister_id, b"certified_data")
            canister_folder.write(record, replica.state.get(path) or b"", folder)
            for file in folder.iterdir():
                _sync(file)
                files[f"{folder.name}/{file.name}"] = _checksum(file)
            _sync(folder)
        return files

    def _link(self, source: Path, folder: Path) -> dict[str, list[int]]:
        """The files of a canister that has not changed, with their checksums."""
        files = {}
        for file in source.iterdir():
            name = f"{folder.name}/{file.name}"
            try:
                os.link(file, folder / file.name)
            except OSError:  # not every file system has links
                shutil.copy2(file, folder / file.name)
            files[name] = self._manifest["files"][name]
        return files

    def _tidy(self) -> None:
        for old in self.folder.glob(f"{SNAPSHOT}*"):
            if old != self._snapshot:
                shutil.rmtree(old, ignore_errors=True)


def _version_of(record: CanisterRecord) -> RecordVersion:
    """Differs after every change. A message that traps changes the log only, so the version alone is not enough."""
    return record, record.version, record.log_number


def _network_info(replica: Replica) -> NetworkInfo:
    authority, clock = replica.authority, replica.clock
    time_ns = replica.state.next_time()
    return NetworkInfo(authority.seed, authority.is_delegated, time_ns, clock.ahead_ns, replica.next_number)


def _checksum(path: Path) -> list[int]:
    """Size and CRC-32 of a file."""
    checksum = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            checksum = zlib.crc32(piece, checksum)
        return [file.tell(), checksum]


def _write_synced(path: Path, text: str) -> None:
    with _naming(path):
        path.write_text(text)
        _sync(path)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an OSError name a path: that of a write names none, and a full disk alone would not tell which is meant."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or str(path)) from error


def _sync(path: Path) -> None:
    """Write a file or a folder through to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
