"""The openings that a node relayed without a claim: a value without I/O."""

from appliance.gateway.nodes import Claim


class Unclaimed:
    """Until when there are such openings, which the engine has to be told: it would grant a copy of one to whoever
    comes first.
    """

    def __init__(self) -> None:
        self._until_ns = 0
        self._unanswered: dict[bytes, int] = {}

    @property
    def until_ns(self) -> int:
        """When the last of them expires (ns since 1970); 0 where there is none."""
        if self._unanswered:
            self._until_ns = max(self._until_ns, *self._unanswered.values())
            self._unanswered.clear()
        return self._until_ns

    def add(self, claim: Claim, *, is_asked: bool) -> None:
        """An opening is relayed without its claim. Where the engine is asked for it, its answer may still come."""
        if not claim.request_id:
            return
        if is_asked:
            self._unanswered[claim.request_id] = claim.expires_ns
        else:
            self._until_ns = max(self._until_ns, claim.expires_ns)

    def answered(self, claim: Claim) -> None:
        """The engine has its claim now."""
        self._unanswered.pop(claim.request_id, None)

    def told(self, until_ns: int) -> None:
        """The engine knows of those that expire by then."""
        if self._until_ns == until_ns:
            self._until_ns = 0
