"""The expiry time of a TLS certificate.

Parsed by hand, because it is the only field we need: the ``ssl`` module reads it from the peer of a connection only,
and a dependency such as ``cryptography`` would be one more to install and to update, for 20 lines. The input is the
operator's own file, which ``ssl`` has loaded before. Every malformed file is a ValueError; ``tests`` compare with
openssl.

Certificate ::= SEQUENCE { tbsCertificate, … }, and tbsCertificate ::= SEQUENCE { [0] version OPTIONAL, serialNumber,
signature, issuer, validity SEQUENCE { notBefore, notAfter }, … } (RFC 5280, section 4.1).
"""

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_VERSION = 0xA0
_TIMES = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
"""UTCTime, whose years of two digits are those of strptime until 2068 (X.509: 2049), and GeneralizedTime."""


def certificate_expiry(file: Path) -> datetime:
    """The time ``notAfter`` of the first certificate of a PEM file. Raises OSError, and ValueError for a malformed
    file.
    """
    found = _PEM.search(file.read_bytes())
    if found is None:
        raise ValueError("it contains no certificate")
    try:
        der = base64.b64decode(found[1])
        (_, certificate), *_ = _elements(der)
        (_, signed), *_ = _elements(certificate)
        fields = [element for element in _elements(signed) if element[0] != _VERSION]
        _, (tag, end) = _elements(fields[3][1])  # validity, after serialNumber, signature and issuer
        return datetime.strptime(end.decode(), _TIMES[tag]).replace(tzinfo=UTC)
    except (binascii.Error, IndexError, KeyError, ValueError):
        raise ValueError("the certificate is malformed") from None


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element (X.690, DER)."""
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size], "big")
            at += size
        if at + length > len(der):
            raise ValueError("it is truncated")
        yield tag, der[at : at + length]
        at += length
