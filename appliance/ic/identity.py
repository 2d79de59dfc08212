"""Who signs: identities (IC interface specification, "Authentication") and their key files."""

import os
import secrets
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from appliance.crypto import SigningKey, hash_of_value
from appliance.errors import KeyUnusable
from appliance.ic.principal import ANONYMOUS, Principal

Scheme = Literal["ed25519", "secp256k1", "prime256v1"]

DELEGATION_SEPARATOR = b"\x1aic-request-auth-delegation"
MAX_KEY_FILE = 64 * 1024  # the longest of the known formats has 300 bytes


class Delegation(NamedTuple):
    """One link of a delegation chain: the key that may sign, until when (ns since 1970), for which canisters (None for
    all), and the signature of the key before it. The order is the one ``crypto.encode_envelope`` takes."""

    public_key: bytes
    expiration_ns: int
    targets: Sequence[bytes] | None
    signature: bytes


@runtime_checkable
class Identity(Protocol):
    """Whoever can send requests."""

    @property
    def principal(self) -> Principal:
        """The sender."""

    @property
    def public_key(self) -> bytes | None:
        """The DER key the principal is made of; None for the anonymous identity."""

    @property
    def delegations(self) -> Sequence[Delegation]:
        """From that key to the one that signs."""

    def sign(self, message: bytes) -> bytes | None:
        """Sign bytes that begin with their domain separator. None: requests of this identity carry no signature."""


class AnonymousIdentity:
    """Nobody in particular."""

    principal = ANONYMOUS
    public_key = None
    delegations: Sequence[Delegation] = ()

    def sign(self, message: bytes) -> None:
        """Requests of nobody have no signature."""

    def __repr__(self) -> str:
        return "AnonymousIdentity()"


class KeyIdentity:
    """The holder of a private key."""

    delegations: Sequence[Delegation] = ()

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self.public_key: bytes = key.public_key
        self.principal = Principal.self_authenticating(self.public_key)

    @property
    def scheme(self) -> Scheme:
        """The kind of the key."""
        return self._key.scheme

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)

    def to_pem(self) -> bytes:
        """The private key as PKCS#8. Secret."""
        return self._key.to_pem()

    def __repr__(self) -> str:
        return f"KeyIdentity({self.scheme}, {self.principal})"


class DelegatedIdentity:
    """A session key that signs for another identity, by a chain of delegations.

    ``inner`` signs; ``public_key`` (DER) is the one the principal is made of; ``delegations`` lead from that key to
    the key of ``inner``. Raises KeyUnusable for a chain that ends at another key.
    """

    def __init__(self, inner: Identity, public_key: bytes, delegations: Sequence[Delegation]) -> None:
        if (delegations[-1].public_key if delegations else public_key) != inner.public_key:
            raise KeyUnusable("the delegation chain does not lead to the key that signs")
        self._inner = inner
        self.public_key: bytes = public_key
        self.delegations = tuple(delegations)
        self.principal = Principal.self_authenticating(public_key)

    def sign(self, message: bytes) -> bytes | None:
        """As the inner identity does."""
        return self._inner.sign(message)

    def __repr__(self) -> str:
        return f"DelegatedIdentity({self.principal}, {len(self.delegations)} delegations)"


def delegate(
    identity: Identity, public_key: bytes, *, expiration_ns: int, targets: Sequence[bytes] | None = None
) -> Delegation:
    """Let the holder of ``public_key`` (DER) sign for ``identity`` until ``expiration_ns``, for all canisters or for
    ``targets`` only. Raises KeyUnusable where the identity is anonymous."""
    content: dict[str, Any] = {"pubkey": public_key, "expiration": expiration_ns}
    if targets is not None:
        content["targets"] = list(targets)
    signature = identity.sign(DELEGATION_SEPARATOR + hash_of_value(content))
    if signature is None:
        raise KeyUnusable("the anonymous identity cannot delegate")
    return Delegation(public_key, expiration_ns, targets, signature)


# --- identities of other libraries ----------------------------------------------------------------------------------


class _Adapted:
    """An identity object of ic-py or icp-py-core: ``sign`` answers key and signature."""

    def __init__(self, foreign: Any, public_key: bytes) -> None:
        self._foreign = foreign
        self.public_key = public_key
        self.principal = Principal.self_authenticating(public_key)
        self.delegations = tuple(_adapted_delegation(link) for link in getattr(foreign, "delegations", ()))

    def sign(self, message: bytes) -> bytes:
        return bytes(self._foreign.sign(message)[1])


def _adapted_delegation(link: Mapping[str, Any]) -> Delegation:
    content = link["delegation"]
    targets = content.get("targets")
    return Delegation(content["pubkey"], content["expiration"], targets, link["signature"])


def adapt(identity: object) -> Identity:
    """Use an identity of another library here: an object with ``sender()`` and ``sign(bytes) -> (DER key, signature)``,
    as ic-py and icp-py-core have them, with or without delegations. Our own are returned as they are.

    Raises KeyUnusable for anything else.
    """
    if isinstance(identity, Identity):
        return identity
    sender, sign = getattr(identity, "sender", None), getattr(identity, "sign", None)
    if not callable(sender) or not callable(sign):
        raise KeyUnusable(f"{type(identity).__name__} has no sender() and sign()")
    principal = sender()
    principal = Principal(getattr(principal, "bytes", principal))
    if principal == ANONYMOUS:
        return AnonymousIdentity()
    adapted = _Adapted(identity, getattr(identity, "der_pubkey", None) or sign(b"\x00")[0])
    if adapted.principal != principal:
        raise KeyUnusable(f"its sender {principal} is not the principal of its key, {adapted.principal}")
    return adapted


# --- key files ------------------------------------------------------------------------------------------------------


def load_identity(path: str | os.PathLike[str]) -> KeyIdentity:
    """Read a private key: PEM as dfx, icp and openssl write it (PKCS#8, SEC1), or binary DER as the reference gateway
    keeps it in ``data/key_pair``. Raises KeyUnusable for a file that is missing, unreadable, encrypted or no key.

    Others being able to read the file is no error here: ``identity_file_problem`` tells.
    """
    data = _read_key_file(Path(path))
    try:
        key = SigningKey.from_pem(data) if b"-----BEGIN " in data else SigningKey.from_der(data)
    except KeyUnusable as error:
        raise KeyUnusable(f"{path}: {error.problem}") from error
    return KeyIdentity(key)


def _read_key_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE + 1)
    except OSError as error:
        raise KeyUnusable(f"{path}: {error.strerror}") from error
    if not data.strip() or len(data) > MAX_KEY_FILE:
        raise KeyUnusable(f"{path}: {'the file is empty' if not data.strip() else 'the file is too long for a key'}")
    return data


def identity_file_problem(path: str | os.PathLike[str]) -> str | None:
    """What is wrong with who may read or change a key file, as a sentence for people; None if nothing is.

    Raises KeyUnusable where the file cannot be looked at.
    """
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise KeyUnusable(f"{path}: {error.strerror}") from error
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return None
    return f"{path} is open to other users (mode {stat.S_IMODE(mode):04o}); run: chmod 600 {path}"


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
        _make_private_folders(path.parent)
        _write_new(path, identity.to_pem())
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


def _make_private_folders(folder: Path) -> None:
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o700, exist_ok=True)


def _write_new(path: Path, data: bytes) -> None:
    # A file that is linked into place is complete: neither a crash nor another process sees half a key.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
