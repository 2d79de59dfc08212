"""The seal of a cluster: proof that a node wrote something, for whoever has the same identity. The engine has not."""

import hmac
from typing import Protocol

TAG_BYTES = 16


class Secret(Protocol):
    """What a private key can do here (``ic.identity.KeyIdentity``)."""

    def derive(self, purpose: bytes) -> bytes:
        """32 secret bytes that only holders of the key can compute, others for each purpose."""


class Seal:
    """Tags are HMAC-SHA256, cut to ``TAG_BYTES``, by a key derived from the gateway's identity and the name of the
    cluster. They prove who wrote, not when: what must not be repeated carries an incarnation and a counter.
    """

    def __init__(self, secret: Secret, cluster: str) -> None:
        self._key = secret.derive(b"icws cluster " + cluster.encode())

    def tag(self, purpose: str, *parts: bytes) -> bytes:
        """The tag of these parts for a purpose. Where one part ends and the next begins is part of what is proved."""
        proved = b"".join(len(part).to_bytes(8, "big") + part for part in (purpose.encode(), *parts))
        return hmac.digest(self._key, proved, "sha256")[:TAG_BYTES]

    def proves(self, tag: bytes, purpose: str, *parts: bytes) -> bool:
        """Whether it is their tag, compared in constant time."""
        return hmac.compare_digest(tag, self.tag(purpose, *parts))

    def __repr__(self) -> str:
        return "Seal()"
