"""Decodes and verifies the replies to polls, in the mode that the configuration sets: off the event loop where that
takes long."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from appliance.crypto import PollAnswer, PollQueue, PollReply, Verifier, read_poll_reply_unverified
from appliance.errors import BadReply, CanisterRefused, GatewayError
from appliance.gateway.recording.measurements import Counters
from appliance.gateway.recording.recorder import Recorder
from appliance.ic.principal import Principal
from appliance.ic.queries import UNSIGNED, QuerySignatures
from appliance.protocol.envelopes import Mode
from appliance.protocol.session import Generation
from appliance.threads import READ_AT_ONCE, VERIFICATION

_log = structlog.get_logger(__name__)

R = TypeVar("R", PollReply, PollReply | None)


class Replies:
    """Turns the bytes of a reply into messages with ready frames. ``mode`` is ``verification.certificates``; what
    ``report`` finds is counted, and logged the first time of its kind. ``signatures`` says how those of nodes are
    verified before. ``gateway`` is the principal that polls. ``verified_by`` has verifier, mode and signatures: another
    object each time that `follow` changes them.
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
        self.follow(verifier, mode, signatures)
        self._counters = counters
        self._gateway = gateway
        self._clock = clock
        self._recorder = recorder or Recorder()

    def follow(self, verifier: Verifier, mode: Mode, signatures: QuerySignatures) -> None:
        """Verify replies so from now on."""
        self.verifier = verifier
        self.mode = mode
        self.signatures = signatures
        self.verified_by = (verifier, mode, signatures)

    def queue(self, canister_id: bytes, generation: Generation) -> PollQueue | None:
        """The queue of a canister for who reads its replies as `open` does; None where nothing is verified."""
        if self.mode == "off":
            return None
        max_age_ns = None if self.signatures.mode == "off" else self.signatures.max_age_ns
        return PollQueue(
            self.verifier, canister_id, generation=generation, gateway=self._gateway, max_age_ns=max_age_ns
        )

    def opened(self, answer: PollAnswer) -> PollReply:
        """The page of a reply that was read elsewhere."""
        page = answer.page
        if page.messages:
            self._recorder.latency.reply_verification.observe(answer.took_ns)
        return page

    async def open(self, reply: bytes, canister_id: bytes, generation: Generation) -> PollReply:
        """Decode and verify; what is missing between messages is left to ``QueuePosition``.

        Raises a BadReply, Malformed, CandidError, TooLarge, CanisterRefused, and a CertificateError with mode
        ``enforce``.
        """
        begun = time.perf_counter_ns()
        read = self._read_known(reply, canister_id, generation) if len(reply) <= READ_AT_ONCE else None
        took_ns = time.perf_counter_ns() - begun
        if read is None:
            opened, doubt, took_ns = await VERIFICATION.run(self._read_timed, reply, canister_id, generation)
        else:
            opened, doubt = read
        if opened.messages:
            self._recorder.latency.reply_verification.observe(took_ns)
        if doubt is not None:
            self.report(doubt, canister_id)
        return opened

    def _read_timed(
        self, reply: bytes, canister_id: bytes, generation: Generation
    ) -> tuple[PollReply, GatewayError | None, int]:
        """Also returns the duration in nanoseconds, without the wait for a thread."""
        begun = time.perf_counter_ns()
        opened, doubt = self._read(self.verifier.open_poll_reply, reply, canister_id, generation)
        return opened, doubt, time.perf_counter_ns() - begun

    def _read_known(
        self, reply: bytes, canister_id: bytes, generation: Generation
    ) -> tuple[PollReply, GatewayError | None] | None:
        """None where a signature has to be verified."""
        opened, doubt = self._read(self.verifier.recall_poll_reply, reply, canister_id, generation)
        return None if opened is None else (opened, doubt)

    def _read(
        self, open_reply: Callable[..., R], reply: bytes, canister_id: bytes, generation: Generation
    ) -> tuple[R | PollReply, GatewayError | None]:
        if self.mode == "off":
            return read_poll_reply_unverified(reply, generation=generation), None
        try:
            opened = open_reply(
                reply,
                canister_id,
                generation=generation,
                now_ns=self._clock(),
                gateway=self._gateway,
                allow_holes=True,
            )
        except (BadReply, CanisterRefused):
            raise
        except GatewayError as error:
            if self.mode == "enforce":
                raise
            return read_poll_reply_unverified(reply, generation=generation), error
        return opened, None

    def report(self, doubt: GatewayError, canister_id: bytes) -> None:
        """Count a reply that enforced verification would have refused, and log the first of its kind."""
        if doubt.reason not in self._counters.unverified:
            canister = str(Principal(canister_id))
            _log.warning("messages of a canister do not verify", canister=canister, cause=str(doubt))
        self._counters.unverified[doubt.reason] += 1
