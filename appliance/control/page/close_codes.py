"""What each close code means, in a few words; docs/close-codes.md has every reason behind them."""

MEANINGS = {
    1000: "the client left",
    1001: "the client left",
    1002: "the client violated the WebSocket protocol",
    1003: "a text frame: the protocol has binary frames only",
    1005: "the client left without a code",
    1006: "the connection broke",
    1007: "the client violated the WebSocket protocol",
    1009: "a message too large",
    1011: "an internal error, see the log",
    1012: "the gateway stops, drains or restarts",
    1013: "the canister is full, paused or gone for now",
    4100: "the client does not read",
    4101: "the IC does not answer, or not as it should",
    4102: "the canister or the IC rejected a message",
    4103: "the canister has lost its clients",
    4105: "the session did not open in time",
    4106: "the client does not answer pings",
    4107: "the previous session is still being closed",
    4108: "a rate limit",
    4109: "closed by the operator",
    4110: "a plugin refused for now",
    4112: "the IC changed the order of messages",
    4113: "the cluster gave this node up and took its clients for gone",
    4120: "messages of the canister are lost",
    4121: "the client opened another session",
    4122: "nothing came from the canister for too long",
    4123: "too many bytes are held",
}
"""Come back: WebSocket's own codes, and those below 4500."""
FINAL_MEANINGS = {
    4500: "a malformed message",
    4501: "a request that the IC would refuse",
    4502: "an invalid signature",
    4503: "a message signed too long ago, or for later",
    4504: "a message signed by somebody else",
    4505: "an invalid delegation",
    4506: "a message for another canister",
    4507: "a method that is not allowed there",
    4508: "this client is connected already",
    4509: "a canister that is not served",
    4510: "the client violated the protocol",
    4511: "a key that cannot be used",
    4512: "a message that was used before",
    4513: "a client of another gateway",
    4514: "a client of another wire generation",
    4515: "messages out of order",
    4516: "a message before the session was open",
    4517: "the operator removed the canister",
    4518: "a plugin refused for good",
    4519: "an opening message that was used elsewhere",
    4520: "a copy of an opening message",
}
NORMAL = frozenset({1000, 1001, 1005})
"""Codes of an ordinary end: the client is done, or goes to another page, or gives no code."""


def meaning_of(code: int) -> str:
    """A few words, and whether the client may come back. Raises KeyError for a code that the gateway never sends."""
    if code in FINAL_MEANINGS:
        return f"{FINAL_MEANINGS[code]}; do not come back"
    return MEANINGS[code] + ("; come back" if code >= 4000 or code in (1012, 1013) else "")


def meanings() -> dict[int, str]:
    """All of them, by code."""
    return {code: meaning_of(code) for code in (*MEANINGS, *FINAL_MEANINGS)}
