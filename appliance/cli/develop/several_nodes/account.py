"""What became of each message of a client. Pure: nothing here sends or waits."""

from collections.abc import Iterable


class Account:
    """The messages of one client. Each is answered, cut off by the end of its session, of which the client was told,
    or pending."""

    def __init__(self) -> None:
        self.sent = 0
        self.answered = 0
        self.doubled = 0
        """Answers that came again."""
        self.cut_off: list[str] = []
        """Messages under way when their session ended: the canister has each of them or not, and the client knows that
        it has to ask."""
        self._pending: dict[str, None] = {}

    @property
    def pending(self) -> list[str]:
        """Messages that wait for their answer; when no more can come, the lost ones."""
        return list(self._pending)

    def send(self, text: str) -> None:
        """A message is about to be sent. Each text is another one."""
        self.sent += 1
        self._pending[text] = None

    def answer(self, text: str) -> None:
        """The canister's answer to a message has arrived."""
        if text in self._pending:
            del self._pending[text]
            self.answered += 1
        else:
            self.doubled += 1

    def end_session(self, unacknowledged: Iterable[str]) -> None:
        """The session has ended, and with it what of its unconfirmed messages had no answer."""
        for text in unacknowledged:
            if text in self._pending:
                del self._pending[text]
                self.cut_off.append(text)
