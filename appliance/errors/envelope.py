"""Requests signed by clients, the keys they sign with, and Candid."""

from appliance.errors.base import GatewayError


class EnvelopeError(GatewayError, close_code=4501, reason="envelope"):
    """A request that the IC would not accept from its sender."""


class EnvelopeExpired(EnvelopeError, close_code=4503, reason="envelope_expired"):
    """``ingress_expiry`` has passed. Both in nanoseconds since 1970."""

    expiry_ns: int
    now_ns: int
    sentence = "the envelope expired {_late_s:.0f} s ago; is the client's clock right?"

    @property
    def _late_s(self) -> float:
        return (self.now_ns - self.expiry_ns) / 1e9


class EnvelopeTooFarAhead(EnvelopeError, close_code=4503, reason="envelope_too_far_ahead"):
    """``ingress_expiry`` lies beyond what the IC accepts. All in nanoseconds."""

    expiry_ns: int
    now_ns: int
    limit_ns: int
    sentence = "the envelope expires in {_ahead_s:.0f} s, the limit is {limit_s:.0f} s; is the client's clock right?"

    @property
    def _ahead_s(self) -> float:
        return (self.expiry_ns - self.now_ns) / 1e9


class SignatureInvalid(EnvelopeError, close_code=4502, reason="signature"):
    """The signature over the request, a delegation or a first message does not verify."""

    problem: str
    sentence = "signature does not verify: {problem}"


class SenderMismatch(EnvelopeError, close_code=4504, reason="sender_mismatch"):
    """``sender`` is not the principal of ``sender_pubkey``. Both are principals as text."""

    sender: str
    key_principal: str
    sentence = "sender {sender} is not the principal of its key, {key_principal}"


class DelegationInvalid(EnvelopeError, close_code=4505, reason="delegation"):
    """The delegation chain is invalid: too long, cyclic, too many targets or wrong permissions."""

    problem: str
    sentence = "invalid delegation chain: {problem}"


class DelegationExpired(DelegationInvalid, reason="delegation_expired"):
    """A delegation has expired."""


class CanisterNotTargeted(DelegationInvalid, reason="delegation_target"):
    """The delegation chain is limited to other canisters."""


class KeyUnusable(GatewayError, close_code=4511, reason="key"):
    """A key that cannot be used: of a file, or of a client that signs with it."""

    problem: str
    sentence = "the key cannot be used: {problem}"


class CandidError(GatewayError, close_code=4500, reason="candid"):
    """Candid that does not decode or encode as the type says, or a type that does not parse."""

    problem: str
    sentence = "Candid: {problem}"
