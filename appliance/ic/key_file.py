"""Key files: reads, creates and checks the file that holds the private key of an identity."""

import os
from pathlib import Path

from appliance.crypto import SigningKey
from appliance.errors import KeyUnusable
from appliance.ic.identity import KeyIdentity, Scheme
from appliance.private_files import access_problem, make_private_folders, read_bytes
from appliance.whole_files import write_new

MAX_KEY_FILE = 64 * 1024  # the longest of the known formats has 300 bytes


def load_identity(path: str | os.PathLike[str]) -> KeyIdentity:
    """Read a private key: PEM as dfx, icp and openssl write it (PKCS#8, SEC1), or binary DER as the reference gateway
    keeps it in ``data/key_pair``. Raises KeyUnusable for a file that is missing, unreadable, encrypted or no key.

    A file that others can read is no error here; see ``identity_file_problem``.
    """
    data = _read_key_file(Path(path))
    try:
        return KeyIdentity(read_key(data))
    except KeyUnusable as error:
        raise KeyUnusable(f"{path}: {error.problem}") from error


def read_key(data: bytes) -> SigningKey:
    """The private key in the content of a key file, PEM or DER. Raises KeyUnusable."""
    return SigningKey.from_pem(data) if b"-----BEGIN " in data else SigningKey.from_der(data)


def _read_key_file(path: Path) -> bytes:
    try:
        data = read_bytes(path, MAX_KEY_FILE + 1)
    except OSError as error:
        raise KeyUnusable(f"{path}: {error.strerror}") from error
    if not data.strip() or len(data) > MAX_KEY_FILE:
        raise KeyUnusable(f"{path}: {'the file is empty' if not data.strip() else 'the file is too long for a key'}")
    return data


def identity_file_problem(path: str | os.PathLike[str]) -> str | None:
    """The problem with the permissions of a key file, as a sentence; None if there is none.

    Raises KeyUnusable where the file is missing or cannot be examined.
    """
    try:
        return access_problem(path)
    except OSError as error:
        raise KeyUnusable(f"{path}: {error.strerror}") from error


def create_identity(path: str | os.PathLike[str], *, scheme: Scheme = "ed25519") -> KeyIdentity:
    """Make a key and keep it in a new file as PEM with mode 0600; missing folders are made with mode 0700.

    Raises KeyUnusable where the file exists or cannot be written.
    """
    identity = KeyIdentity(SigningKey.generate(scheme))
    save_identity(identity, path)
    return identity


def save_identity(identity: KeyIdentity, path: str | os.PathLike[str]) -> None:
    """Write the private key to a new file, whole or not at all, as PEM with mode 0600. Raises KeyUnusable where the
    file exists or cannot be written."""
    path = Path(path)
    try:
        make_private_folders(path.parent)
        # Linked into place, where the file system has links: neither a crash nor another process that starts sees half
        # a key.
        write_new(path, identity.to_pem(), mode=0o600)
    except FileExistsError:
        raise KeyUnusable(f"{path} exists already and is not overwritten") from None
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be written: {error.strerror}") from error


def load_or_create_identity(path: str | os.PathLike[str]) -> KeyIdentity:
    """The identity of a file, made at the first time. Several processes that start together get the same one.

    Raises KeyUnusable.
    """
    if not os.path.lexists(path):
        try:
            return create_identity(path)
        except KeyUnusable:
            if not os.path.lexists(path):
                raise
    return load_identity(path)
