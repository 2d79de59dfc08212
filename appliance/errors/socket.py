"""Why the gateway ends a socket whose client kept to the protocol: limits, canisters, plugins, the operator.

Close reasons have 123 bytes and are cut there, so that the important word of a sentence comes first.
"""

from appliance.errors.base import GatewayError


class SlowClient(GatewayError, close_code=4100, reason="slow_client"):
    """A client does not read, or its canister of v0 has not answered its opening, and its outbox is full; ``waiting``
    and ``limit`` are bytes.
    """

    waiting: int
    limit: int
    sentence = "the client reads, or its canister answers, too slowly: {waiting} bytes buffered, limit {limit}"


class OrderLost(GatewayError, close_code=4112, reason="order_lost"):
    """The IC passed the messages of a client to its canister in another order than they were sent in, and the canister
    dropped the client. ``text`` is the canister's own.
    """

    text: str
    sentence = "the IC changed the order of messages, open a new connection: {text}"


class RateLimited(GatewayError, close_code=4108, reason="rate_limited"):
    """A client exceeds a rate limit: ``what`` it does, the ``rate`` as text such as ``5/s``, and the time to wait."""

    what: str
    rate: str
    burst: int
    delay_ns: int
    sentence = "rate limit exceeded: {what} {rate}, burst {burst}; retry in {_delay} s"

    @property
    def _delay(self) -> str:
        # Rounded up to milliseconds, because a client that comes back too early is limited again.
        return f"{-(-self.delay_ns // 10**6) / 1000:.3f}".rstrip("0").rstrip(".")


class MemoryShort(GatewayError, close_code=4123, reason="memory_short"):
    """More bytes are held than ``limit`` allows, a key of the configuration, and ``held`` of this client."""

    held: int
    limit: str
    retry_after_s: int = 10
    sentence = "too many bytes are held ({limit}), {held} of them of this client; retry in {retry_after_s} s"


class OpenTimeout(GatewayError, close_code=4105, reason="open_timeout"):
    """The session did not open in time; ``waiting_for`` is what was missing."""

    limit_s: float
    waiting_for: str
    sentence = "no {waiting_for} within {limit_s:g} s"


class PingTimeout(GatewayError, close_code=4106, reason="ping_timeout"):
    """The client does not answer pings."""

    limit_s: float
    sentence = "no pong within {limit_s:g} s"


class RefusedByPlugin(GatewayError, close_code=4518, reason="refused_by_plugin"):
    """A plugin refused for good. ``text`` is the close reason that the plugin wants."""

    plugin: str
    text: str
    sentence = "{text}"


class PostponedByPlugin(RefusedByPlugin, close_code=4110, reason="postponed_by_plugin"):
    """A plugin refused for now."""

    retry_after_s: float
    sentence = "{text}; retry in {retry_after_s:g} s"


class PluginUnavailable(RefusedByPlugin, close_code=1013, reason="plugin_unavailable"):
    """A required plugin did not decide."""

    text: str = "a required check does not answer at the moment; try again later"


class CanisterForgot(GatewayError, close_code=4103, reason="canister_forgot"):
    """The canister lost its clients (reinstalled, upgraded without keeping them). A principal as text."""

    canister: str
    sentence = "canister {canister} lost its clients; open a new connection"


class SessionReplaced(GatewayError, close_code=4121, reason="session_replaced"):
    """The same principal opened another session, and the canister keeps one of each. A principal as text."""

    principal: str
    sentence = "{principal} opened another session, and the canister keeps only the newest"


class CanisterSilent(GatewayError, close_code=4122, reason="canister_silent"):
    """No message of the canister came for too long, not even an acknowledgement: it may have forgotten this client. A
    principal as text."""

    canister: str
    silent_ns: int
    sentence = (
        "canister {canister} has sent nothing for {silent_s:.0f} s and may have lost this client; open a new connection"
    )


class MessagesLost(GatewayError, close_code=4120, reason="messages_lost"):
    """Messages of the canister are lost, and one of them was for this client, or may have been. A principal as text."""

    canister: str
    sentence = "messages of canister {canister} are lost; open a new connection"


class CanisterFull(GatewayError, close_code=1013, reason="canister_full"):
    """A canister has as many clients as the configuration allows."""

    canister: str
    limit: int
    sentence = "canister {canister} has reached its limit of {limit} clients; try again later"


class PrincipalFull(GatewayError, close_code=1013, reason="principal_full"):
    """A principal has as many sessions as the configuration allows."""

    limit: int
    sentence = "this principal has {limit} sessions (limits.held_per_principal.connections); try again later"


class CanisterPaused(GatewayError, close_code=1013, reason="canister_paused"):
    """The operator has paused a canister. A principal as text."""

    canister: str
    sentence = "canister {canister} is paused at this gateway; try again later"


class CanisterRemoved(GatewayError, close_code=4517, reason="canister_removed"):
    """The operator removed a canister from the configuration, or changed it to or from v0. A principal as text."""

    canister: str
    sentence = "canister {canister} is no longer served here"


class CanisterUnlisted(GatewayError, close_code=1013, reason="canister_unlisted"):
    """A canister is not in the file any more, which is watched: it may have been edited in several steps, so that the
    canister is back shortly. A principal as text.
    """

    canister: str
    sentence = "canister {canister} is not served here at the moment; try again later"


class ClosedByOperator(GatewayError, close_code=4109, reason="closed_by_operator"):
    """The operator has closed the connection. ``code`` is the close code, ``text`` the close reason."""

    text: str = "closed by the operator of the gateway"
    code: int = 4109
    sentence = "{text}"


class GatewayStopping(GatewayError, close_code=1012, reason="stopping"):
    """The gateway stops or restarts; ``retry_after_s`` is when to reconnect, None for at once."""

    retry_after_s: float | None = None
    sentence = "the gateway restarts, open a new connection{_when}"

    @property
    def _when(self) -> str:
        return "" if self.retry_after_s is None else f" in {self.retry_after_s:g} s"
