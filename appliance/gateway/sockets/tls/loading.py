"""Loads the certificate and the key of TLS, with a sentence for each mistake: OpenSSL names neither file nor remedy."""

import asyncio
import hashlib
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from appliance.config.schema import Tls
from appliance.errors import ConfigError, ConfigProblem
from appliance.gateway.sockets.tls.certificate_expiry import certificate_expiry
from appliance.private_files import access_problem
from appliance.threads import FILE_TIMEOUT_S, FILES

CERTIFICATE = "gateway.tls.certificate"
KEY = "gateway.tls.key"


class _Encrypted(Exception):
    """The key has a passphrase."""


@dataclass(frozen=True)
class LoadedTls:
    """A pair that is served, apart from its files, which may have changed since; without TLS the context is None.

    ``digest`` is of both files: by it a reload sees that they changed.
    """

    context: ssl.SSLContext | None = None
    digest: bytes = b""
    expires_at: datetime | None = None

    @classmethod
    async def loaded(cls, tls: Tls | None) -> Self:
        """Of these files, which may be on a file system that hangs. Raises ConfigError."""
        try:
            async with asyncio.timeout(FILE_TIMEOUT_S):
                return await FILES.run(cls.load, tls)
        except TimeoutError:
            raise _error("gateway.tls", f"certificate and key cannot be read within {FILE_TIMEOUT_S:g} s") from None

    @classmethod
    def load(cls, tls: Tls | None) -> Self:
        """Raises ConfigError, also where the files change meanwhile: what is served would be neither."""
        if tls is None:
            return cls()
        load_tls(tls)
        # Once more between two digests: OpenSSL reads the files by itself, and a renewal may replace them meanwhile.
        digest, context = _digest(tls), load_tls(tls)
        if _digest(tls) != digest:
            raise _error("gateway.tls", f"{tls.certificate} and {tls.key} change while they are read; try again")
        return cls(context, digest, _expiry(tls.certificate))


def _digest(tls: Tls) -> bytes:
    return hashlib.sha256(tls.certificate.read_bytes() + b"\0" + tls.key.read_bytes()).digest()


def _expiry(certificate: Path) -> datetime | None:
    try:
        return certificate_expiry(certificate)
    except ValueError:  # OpenSSL takes it, and that is what counts
        return None


def load_tls(tls: Tls) -> ssl.SSLContext:
    """A server context of a certificate chain and its key.

    Raises ConfigError, whose problems have keys and no places.
    """
    _check_readable(tls.certificate, CERTIFICATE)
    _check_readable(tls.key, KEY)
    _check_certificate(tls.certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION  # OpenSSL before 3 grants clients of TLS 1.2 as many as they want
    try:
        # without this function OpenSSL asks for a passphrase at the terminal, and blocks the event loop
        context.load_cert_chain(tls.certificate, tls.key, password=_no_passphrase)
    except _Encrypted:
        advice = f"`openssl pkey -in {tls.key} -out NEW` writes it without"
        raise _error(KEY, f"{tls.key} has a passphrase, which nobody could enter; {advice}") from None
    except ssl.SSLError as error:
        raise _error(KEY, _mistake(tls, error)) from None
    _check_private(tls.key)
    return context


def _check_readable(file: Path, key: str) -> None:
    try:
        # Neither a pipe, whose opening waits for a writer and which OpenSSL reads twice, nor a device that has no end.
        if not (file.is_file() or file.is_dir()) and file.exists():
            raise _error(key, f"{file} is a pipe or a device; name a file, with its content in it")
        file.open("rb").close()
    except OSError as error:
        raise _error(key, f"{file} cannot be read: {error.strerror}") from None


def _check_certificate(file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(file)
    except ssl.SSLError:
        raise _error(CERTIFICATE, f"{file} is not a chain of certificates in PEM form") from None


def _check_private(key: Path) -> None:
    if (problem := access_problem(key)) is not None:
        raise _error(KEY, problem)


def _no_passphrase() -> str:
    raise _Encrypted


def _mistake(tls: Tls, error: ssl.SSLError) -> str:
    if error.reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):  # the latter for keys of another algorithm
        return f"{tls.key} is not the key of the certificate {tls.certificate}; give the two that were made together"
    if error.reason in ("NO_START_LINE", "PEM_LIB", "BAD_BASE64_DECODE", "BAD_END_LINE", None):
        return f"{tls.key} is not a private key in PEM form"
    reason = error.reason.replace("_", " ").lower()
    return f"{tls.certificate} with the key {tls.key} cannot be used: {reason}"


def _error(key: str, problem: str) -> ConfigError:
    return ConfigError([ConfigProblem("", key, problem)])
