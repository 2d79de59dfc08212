"""Opening the replies to polls: off the loop, and as strictly as the operator wants."""

import asyncio
import time
from collections.abc import Callable

import structlog

from appliance.crypto import PollReply, Verifier, read_poll_reply_unverified
from appliance.errors import CanisterRefused, GatewayError
from appliance.gateway.stats import Stats
from appliance.protocol.envelopes import Mode
from appliance.protocol.session import Generation

_log = structlog.get_logger(__name__)

SMALL = 256
"""Bytes of a reply that cannot hold a certificate: decoding it costs less than handing it to a thread."""


class Replies:
    """Turns the bytes of a reply into messages with ready frames. ``mode`` is ``verification.certificates``."""

    def __init__(
        self, verifier: Verifier, mode: Mode, stats: Stats, *, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._verifier = verifier
        self._mode = mode
        self._stats = stats
        self._clock = clock

    async def open(self, reply: bytes, canister_id: bytes, generation: Generation) -> PollReply:
        """Decode and verify. Raises Malformed, CandidError, TooLarge, CanisterRefused, and a CertificateError with mode
        ``enforce``.
        """
        if len(reply) <= SMALL:
            return self._open(reply, canister_id, generation)
        return await asyncio.to_thread(self._open, reply, canister_id, generation)

    def _open(self, reply: bytes, canister_id: bytes, generation: Generation) -> PollReply:
        if self._mode == "off":
            return read_poll_reply_unverified(reply, generation=generation)
        try:
            return self._verifier.open_poll_reply(reply, canister_id, generation=generation, now_ns=self._clock())
        except CanisterRefused:
            raise
        except GatewayError as error:
            if self._mode == "enforce":
                raise
            unverified = read_poll_reply_unverified(reply, generation=generation)
            self._stats.doubted[error.reason] += 1
            _log.warning("messages of a canister do not verify", cause=str(error))
            return unverified
