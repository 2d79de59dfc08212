"""Passes the part of a queue that the IC refuses to show, because the reply would be too large.

``ws_get_messages`` has no upper end: from each nonce on it shows as many messages as the canister puts into a reply,
or none where that is more than the IC's 3 MiB. Those of the part that is too large can be read by nobody. The first
nonce from which a reply fits is found by doubling steps, then by bisection.
"""

from dataclasses import dataclass

from appliance.errors import GatewayError, Rejected, TooLarge

REPLY_TOO_LARGE = "IC0504"
"""The IC's error code for a canister that replies with more than the limit (interface specification, "Error codes")."""


def is_too_large(error: GatewayError) -> bool:
    """Whether a poll failed for the size of its reply: at the IC, or at ``network.max_reply``."""
    return isinstance(error, TooLarge) or (isinstance(error, Rejected) and error.error_code == REPLY_TOO_LARGE)


LONGEST_STEP = 1 << 16
"""Messages to look ahead at most: no canister puts more into a reply, so the refusal has another reason then."""


@dataclass(slots=True)
class Search:
    """The search for the first nonce from which a reply fits. A value: outcomes in, the next nonce out.

    ``too_large`` is a nonce from which it does not. Nobody certifies that, so each is asked for ``needed`` times, which
    reaches all endpoints as they take turns: one that lies cannot make the gateway skip what another one shows.
    """

    too_large: int
    needed: int
    fits: int | None = None
    """The lowest nonce known from which a reply fits."""
    _refusals: int = 0
    _step: int = 1

    @property
    def next(self) -> int | None:
        """The nonce to ask from; None when the search has ended, with ``fits`` or in vain."""
        if self.fits is None:
            return self.too_large + self._step if self._step <= LONGEST_STEP else None
        return None if self.fits - self.too_large <= 1 else (self.too_large + self.fits) // 2

    def refused(self) -> None:
        """The reply from ``next`` on is too large."""
        self._refusals += 1
        if self._refusals >= self.needed and (nonce := self.next) is not None:
            self.too_large, self._refusals = nonce, 0
            self._step *= 2

    def fitted(self) -> None:
        """There is a reply from ``next`` on."""
        self.fits, self._refusals = self.next, 0
