"""Replies to queries, and how far they are believed."""

from typing import Literal, NamedTuple

from appliance.crypto import PollAnswer
from appliance.errors import GatewayError


class EndpointReply(NamedTuple):
    """The reply (Candid) of one endpoint, by its address, to a query; ``endpoints`` says how many there are."""

    arg: bytes
    endpoint: str
    endpoints: int = 1
    doubt: GatewayError | None = None
    """Why no node's signature proves it, where that is only reported."""
    query: bytes = b""
    """The signed query: with the body, what `Agent.reread` verifies."""
    body: bytes = b""
    """What the endpoint sent, with the signatures of nodes. With an ``answer`` these three may be empty."""
    answer: PollAnswer | None = None
    """What was read of it on its way, where that is a verified reply to a poll."""


class QuerySignatures(NamedTuple):
    """How the signatures of nodes on replies to queries are verified. A signature may be ``max_age_ns`` old at most."""

    mode: Literal["enforce", "report", "off"]
    max_age_ns: int


UNSIGNED = QuerySignatures("off", 0)
