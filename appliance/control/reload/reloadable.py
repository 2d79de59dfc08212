"""The parts of a running gateway that follow the configuration, and how all of them change together or none does."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from appliance.config.schema import Config

_log = structlog.get_logger(__name__)


class Change(Protocol):
    """What one part has prepared. Either `discard` is called, or `swap` and then `retire`, each once."""

    def swap(self) -> None:
        """Follow the new configuration from now on. Must not fail."""

    async def discard(self) -> None:
        """It is not to be: release what was prepared."""

    async def retire(self) -> None:
        """All parts have swapped: release what was replaced. May take as long as it needs."""


class Part(Protocol):
    """Something of the running gateway that follows the configuration."""

    async def prepare(self, new: Config) -> Change:
        """Build what the new configuration needs, and change nothing yet.

        Called where nothing changes for this part too, and where only the content of a file changes that a key names.
        Raises ConfigError, another GatewayError or OSError, and has released then what it had built. A ConfigProblem
        may have an empty place: it gets that of its key.
        """


async def prepare_all(parts: Sequence[Part], new: Config) -> list[Change]:
    """What every part has prepared, in their order.

    Raises what one of them raises, and has discarded then what the others prepared.
    """
    changes: list[Change] = []
    try:
        for part in parts:
            changes.append(await part.prepare(new))
    except BaseException:
        await discard_all(changes)
        raise
    return changes


async def discard_all(changes: Sequence[Change]) -> None:
    """Let every part release what it prepared, the last first; one that fails keeps no other from it."""
    for change in reversed(changes):
        try:
            await change.discard()
        except Exception:
            _log.exception("what was prepared could not be discarded")


def swap_all(changes: Sequence[Change]) -> bool:
    """Let every part follow. Returns False where one of them failed, which none is to."""
    is_whole = True
    for change in changes:
        try:
            change.swap()
        except Exception:
            is_whole = False
            _log.exception("a part could not follow the configuration")
    return is_whole


async def retire_all(changes: Sequence[Change]) -> None:
    """Let every part release what it replaced; one that fails keeps no other from it."""
    for change in changes:
        try:
            await change.retire()
        except Exception:
            _log.exception("what was replaced could not be released")
