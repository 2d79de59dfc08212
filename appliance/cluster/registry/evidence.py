"""Whether a node is dead: a value that follows from what was seen of it.

That the engine has no heartbeat of a node proves nothing: the engine may be wrong, or only out of the reach of that
node. So the node is asked at its peer address as well, by the one that judges, several times over several seconds. Nor
does it prove much that one node cannot reach another: all ask, and who has an answer attests that at the engine.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, NamedTuple, Self

ASKED = 5
"""Questions in a row without an answer."""
ASKED_WITHIN_S = 4.0
"""Seconds that lie between the first and the last of them at least."""
FRESH_S = 6.0
"""Age of the last question at most: whoever stood still meanwhile has seen nothing of that time. Questions begin with
heartbeats, and each takes `peers.ANSWERED_WITHIN_S` where an address swallows packets."""

Outcome = Literal["answered", "silent", "another"]
"""What came of a question: ``another`` process answered, so the one that had the address is gone from there."""
Verdict = Literal["heard", "no address", "engine", "answers", "attested", "asking", "dead"]
"""``heard``: a heartbeat is not long enough ago; ``no address``: the node has none, and nobody can give it up;
``engine``: the judge has not had the engine for as long; ``answers``: it lives; ``attested``: it answers another node;
``asking``: the questions go on."""


class Question(NamedTuple):
    """One question, at a time of a monotonic clock (s)."""

    at: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a judge knows of one process. ``silent_s`` is the time since its last heartbeat, by the clock of the engine;
    ``contact_s`` how long the judge has had the engine without a break, and the engine all that it holds;
    ``is_attested`` whether another node has an answer.
    """

    silent_s: float
    contact_s: float
    has_address: bool
    is_attested: bool = False
    questions: tuple[Question, ...] = ()

    def asked(self, question: Question) -> Self:
        """One more question."""
        return replace(self, questions=(*self.questions, question)[-2 * ASKED :])

    def seen(self, *, silent_s: float, contact_s: float, has_address: bool, is_attested: bool) -> Self:
        """What the last heartbeat of the judge says."""
        return replace(self, silent_s=silent_s, contact_s=contact_s, has_address=has_address, is_attested=is_attested)

    def is_answered(self, now: float) -> bool:
        """Whether the last question was answered, and is no older than ``FRESH_S``."""
        last = self.questions[-1] if self.questions else None
        return last is not None and last.outcome == "answered" and now - last.at <= FRESH_S

    def verdict(self, now: float, after_s: float) -> Verdict:
        """What follows at a time of the monotonic clock, where a node is given up after ``after_s`` seconds."""
        if min(self.silent_s, self.contact_s) < after_s:
            return "heard" if self.silent_s < after_s else "engine"
        if not self.has_address:
            return "no address"
        unanswered = self._unanswered()
        if self.questions and not unanswered:
            return "answers"
        if self.is_attested:
            return "attested"
        if len(unanswered) < ASKED or unanswered[-1].at - unanswered[0].at < ASKED_WITHIN_S:
            return "asking"
        gaps = [later.at - earlier.at for earlier, later in pairwise(unanswered)]
        return "asking" if max(now - unanswered[-1].at, *gaps) > FRESH_S else "dead"

    def _unanswered(self) -> tuple[Question, ...]:
        """Those since the last answer."""
        for number, each in enumerate(reversed(self.questions)):
            if each.outcome == "answered":
                return self.questions[len(self.questions) - number :]
        return self.questions
