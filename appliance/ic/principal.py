"""Principals (IC interface specification, "Principals")."""

import base64
import hashlib
import zlib
from typing import Self

from appliance.errors import Malformed

MAX_LENGTH = 29


class Principal(bytes):
    """An identity on the IC: its bytes, with a textual form. Compares, hashes and travels as bytes.

    ``Principal(data)`` takes up to 29 bytes and raises Malformed for more.
    """

    __slots__ = ()

    def __new__(cls, data: bytes) -> Self:
        """Check the length, which ``bytes`` cannot."""
        if len(data) > MAX_LENGTH:
            raise Malformed("principal", f"{len(data)} bytes, at most {MAX_LENGTH} are allowed")
        return super().__new__(cls, data)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse the textual form, upper case too. Raises Malformed for a wrong check sum, grouping or alphabet."""
        compact = text.replace("-", "").lower()
        try:
            data = base64.b32decode((compact + "=" * (-len(compact) % 8)).upper())
        except ValueError:
            raise Malformed("principal", f"{text!r} is not base 32") from None
        if len(data) < 4 or zlib.crc32(data[4:]).to_bytes(4, "big") != data[:4]:
            raise Malformed("principal", f"{text!r} has a wrong check sum; is a character missing?")
        principal = cls(data[4:])
        if str(principal) != text.lower():
            raise Malformed("principal", f"{text!r} is grouped wrongly, it should be {principal!s}")
        return principal

    @classmethod
    def self_authenticating(cls, public_key: bytes) -> Self:
        """The principal of a DER-encoded public key."""
        return cls(hashlib.sha224(public_key).digest() + b"\x02")

    def __str__(self) -> str:
        data = zlib.crc32(self).to_bytes(4, "big") + self
        text = base64.b32encode(data).decode().rstrip("=").lower()
        return "-".join(text[i : i + 5] for i in range(0, len(text), 5))

    def __repr__(self) -> str:
        return f"Principal({str(self)!r})"


ANONYMOUS = Principal(b"\x04")
MANAGEMENT_CANISTER = Principal(b"")
