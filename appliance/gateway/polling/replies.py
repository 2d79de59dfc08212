"""Decodes and verifies the replies to polls, off the event loop, in the mode that the configuration sets."""

import asyncio
import time
from collections.abc import Callable

import structlog

from appliance.crypto import PollReply, Verifier, read_poll_reply_unverified
from appliance.errors import BadReply, CanisterRefused, GatewayError
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.recording.recorder import Recorder
from appliance.ic.agent import UNSIGNED, QuerySignatures
from appliance.ic.principal import Principal
from appliance.protocol.envelopes import Mode
from appliance.protocol.session import Generation

_log = structlog.get_logger(__name__)

SMALL = 256
"""Bytes. A reply of this size holds no certificate: decoding it costs less than handing it to a thread."""


class Replies:
    """Turns the bytes of a reply into messages with ready frames. ``mode`` is ``verification.certificates``; what
    ``report`` finds is counted, and logged the first time of its kind. ``signatures`` says how those of nodes are
    verified before. ``gateway`` is the principal that polls. ``verifier``, ``mode`` and ``signatures`` may be changed.
    """

    def __init__(
        self,
        verifier: Verifier,
        mode: Mode,
        counters: Counters,
        *,
        gateway: Principal,
        signatures: QuerySignatures = UNSIGNED,
        clock: Callable[[], int] = time.time_ns,
        recorder: Recorder | None = None,
    ) -> None:
        self.verifier = verifier
        self.mode = mode
        self.signatures = signatures
        self._counters = counters
        self._gateway = gateway
        self._clock = clock
        self._recorder = recorder or Recorder()

    async def open(self, reply: bytes, canister_id: bytes, generation: Generation) -> PollReply:
        """Decode and verify; what is missing between messages is left to ``QueuePosition``.

        Raises a BadReply, Malformed, CandidError, TooLarge, CanisterRefused, and a CertificateError with mode
        ``enforce``.
        """
        if len(reply) <= SMALL:
            opened, doubt = self._open(reply, canister_id, generation)
        else:
            opened, doubt, took_ns = await asyncio.to_thread(self._open_timed, reply, canister_id, generation)
            self._recorder.latency.reply_verification.observe(took_ns)
        if doubt is not None:
            self.report(doubt, canister_id)
        return opened

    def _open_timed(
        self, reply: bytes, canister_id: bytes, generation: Generation
    ) -> tuple[PollReply, GatewayError | None, int]:
        """Also returns the duration in nanoseconds, without the wait for a thread."""
        begun = time.perf_counter_ns()
        opened, doubt = self._open(reply, canister_id, generation)
        return opened, doubt, time.perf_counter_ns() - begun

    def _open(self, reply: bytes, canister_id: bytes, generation: Generation) -> tuple[PollReply, GatewayError | None]:
        if self.mode == "off":
            return read_poll_reply_unverified(reply, generation=generation), None
        try:
            return self._verify(reply, canister_id, generation), None
        except (BadReply, CanisterRefused):
            raise
        except GatewayError as error:
            if self.mode == "enforce":
                raise
            return read_poll_reply_unverified(reply, generation=generation), error

    def _verify(self, reply: bytes, canister_id: bytes, generation: Generation) -> PollReply:
        now_ns = self._clock()
        return self.verifier.open_poll_reply(
            reply, canister_id, generation=generation, now_ns=now_ns, gateway=self._gateway, allow_holes=True
        )

    def report(self, doubt: GatewayError, canister_id: bytes) -> None:
        """Count a reply that enforced verification would have refused, and log the first of its kind."""
        if doubt.reason not in self._counters.unverified:
            canister = str(Principal(canister_id))
            _log.warning("messages of a canister do not verify", canister=canister, cause=str(doubt))
        self._counters.unverified[doubt.reason] += 1
