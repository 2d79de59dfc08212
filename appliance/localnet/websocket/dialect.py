"""How the WebSocket canisters of the wire generations v0, v1 and v2 differ, on one page.

==================  =========================  ==============================  =======================================
..                  v0                         v1                              v2
==================  =========================  ==============================  =======================================
a client is         an Ed25519 key             a principal and a nonce         a principal and a nonce
it opens by         its ``ws_register``, then  its ``ws_open``, relayed        its ``ws_open``, relayed, which names
                    the gateway's ``ws_open``                                  its gateway
it sends by         a call of its own, or      ``ws_message``, relayed         ``ws_message``, relayed; the type of the
                    signed content, relayed                                    application's messages is an argument
it counts from      0, where relayed           1                               1
out of sequence     is refused, it stays       is removed                      is removed, with a CloseMessage
messages are        CBOR                       Candid                          Candid
others may poll     no, an error               no, an error                    yes, they get nothing
==================  =========================  ==============================  =======================================

The rest is in `Dialect`. The error texts for clients and gateways are in `key_clients` (v0) and `principal_clients`
(v1, v2).
"""

from dataclasses import asdict, dataclass, replace
from typing import Literal

from appliance.crypto import CandidTypes
from appliance.localnet.websocket.wire import SERVICE_MESSAGE, SERVICE_MESSAGE_V1

Generation = Literal["v0", "v1", "v2"]


@dataclass(frozen=True)
class WsInitParams:
    """How the canister treats its clients (CDK, ``WsInitParams``). None is the generation's default.

    ``max_number_of_returned_messages``: per poll. ``send_ack_interval_ms``: time between acknowledgements to every
    client; in v2 also how long messages wait to be polled. ``keep_alive_timeout_ms``: how long a client may take to
    answer one; must be shorter than the interval. v0 has no acknowledgements.
    """

    max_number_of_returned_messages: int | None = None
    send_ack_interval_ms: int | None = None
    keep_alive_timeout_ms: int | None = None


@dataclass(frozen=True)
class Acknowledgements:
    """Acknowledgements and keep-alives, by which canister and client detect that the other is gone.

    ``send_ack_interval_ms`` and ``keep_alive_timeout_ms`` hold unless the installation says otherwise;
    ``keep_alive_timeout_name`` is what the CDK calls the latter.
    """

    message: CandidTypes
    send_ack_interval_ms: int
    keep_alive_timeout_ms: int
    keep_alive_timeout_name: str
    invalid_message: str
    """The answer to a service message other than a keep-alive."""


@dataclass(frozen=True)
class Dialect:
    """The rules of one wire generation, as its CDK has them."""

    generation: Generation
    max_number_of_returned_messages: int
    """Per poll, unless the installation says otherwise."""
    has_one_gateway: bool
    """The principal of the only gateway is given at the installation."""
    registers_keys: bool
    """Clients are known by a key that they register, not by the principal that they call as."""
    replaces_older: bool
    """Opening again removes the principal's older connection. Otherwise it stays, but its messages are refused."""
    keeps_messages: bool
    """Messages and queues are kept for ever instead of for one interval of acknowledgements."""
    nonce_zero_is_newest: bool
    """A poll from nonce 0 gets the newest page instead of the oldest."""
    content_name: str
    """The field of a polled message that has its content."""
    has_end_of_queue: bool
    """A page of messages has the field ``is_end_of_queue``."""
    sends_close_messages: bool
    """A client that is removed is sent a CloseMessage."""
    acknowledgements: Acknowledgements | None
    """None for a generation without service messages: it has no acknowledgements and no keep-alives."""

    def complete(self, params: WsInitParams) -> WsInitParams:
        """The parameters with the generation's defaults. Raises ValueError for parameters that it does not have."""
        own = WsInitParams(self.max_number_of_returned_messages)
        if self.acknowledgements is not None:
            times = self.acknowledgements.send_ack_interval_ms, self.acknowledgements.keep_alive_timeout_ms
            own = WsInitParams(self.max_number_of_returned_messages, *times)
        elif (params.send_ack_interval_ms, params.keep_alive_timeout_ms) != (None, None):
            raise ValueError(f"generation {self.generation} has no acknowledgements and no keep-alive timeout")
        return replace(own, **{name: value for name, value in asdict(params).items() if value is not None})


DIALECTS: dict[Generation, Dialect] = {
    "v0": Dialect(
        generation="v0",  # ic-websocket-cdk of July 2023, commit 989f74b
        max_number_of_returned_messages=10,
        has_one_gateway=True,
        registers_keys=True,
        replaces_older=False,
        keeps_messages=True,
        nonce_zero_is_newest=False,
        content_name="val",
        has_end_of_queue=False,
        sends_close_messages=False,
        acknowledgements=None,
    ),
    "v1": Dialect(
        generation="v1",  # ic-websocket-cdk 0.1 and 0.2
        max_number_of_returned_messages=10,
        has_one_gateway=True,
        registers_keys=False,
        replaces_older=False,
        keeps_messages=True,
        nonce_zero_is_newest=True,
        content_name="content",
        has_end_of_queue=False,
        sends_close_messages=False,
        acknowledgements=Acknowledgements(
            message=SERVICE_MESSAGE_V1,
            send_ack_interval_ms=60_000,
            keep_alive_timeout_ms=10_000,
            keep_alive_timeout_name="keep_alive_timeout_ms",
            invalid_message="Invalid received service message",
        ),
    ),
    "v2": Dialect(
        generation="v2",  # ic-websocket-cdk 0.4.1 and 0.4.2, which behave alike
        max_number_of_returned_messages=50,
        has_one_gateway=False,
        registers_keys=False,
        replaces_older=True,
        keeps_messages=False,
        nonce_zero_is_newest=False,
        content_name="content",
        has_end_of_queue=True,
        sends_close_messages=True,
        acknowledgements=Acknowledgements(
            message=SERVICE_MESSAGE,
            send_ack_interval_ms=300_000,
            keep_alive_timeout_ms=60_000,
            keep_alive_timeout_name="CLIENT_KEEP_ALIVE_TIMEOUT_MS",
            invalid_message="Invalid service message",
        ),
    ),
}
