"""A fixed piece of work, so that figures of machines of different speed can be compared as ratios.

It mixes what a gateway spends its time on: BLS and Ed25519 verification, CBOR and hashing in the native core, and the
interpreter. Neighbours that slow a machine down slow this work down as well, hence it is measured beside each scenario.
"""

import time

from appliance.crypto import (
    BlsSecretKey,
    SigningKey,
    decode_cbor,
    encode_cbor,
    hash_of_value,
    verify_bls,
    verify_signature,
)

_ROUNDS = 3
_BLS = 10
_ED25519 = 100
_ENCODINGS = 500
_STEPS = 100_000


class Calibration:
    """The work with its keys and messages made ahead."""

    def __init__(self) -> None:
        bls, signing = BlsSecretKey.from_seed(b"calibration".ljust(32)), SigningKey.from_secret("ed25519", bytes(32))
        self._message = b"calibration" * 20
        self._bls = bls.public_key, bls.sign(self._message)
        self._ed25519 = signing.public_key, signing.sign(self._message)

    def cpu_s(self) -> float:
        """Do the work some times, and return the CPU (seconds) of the fastest time."""
        return min(self._once() for _ in range(_ROUNDS))

    def _once(self) -> float:
        begun = time.thread_time()
        for _ in range(_BLS):
            verify_bls(*self._bls, self._message)
        for _ in range(_ED25519):
            verify_signature(*self._ed25519, self._message)
        for number in range(_ENCODINGS):
            hash_of_value({"number": number, "message": decode_cbor(encode_cbor({"message": self._message}))})  # type: ignore[dict-item]
        _interpret()
        return time.thread_time() - begun


def _interpret() -> int:
    total = 0
    for number in range(_STEPS):
        total += number & 7
    return total
