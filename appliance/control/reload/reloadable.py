"""Parts of a running gateway that follow the configuration, and how all of them change together or none does."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from appliance.config.schema import Config

_log = structlog.get_logger(__name__)


class PreparedChange(Protocol):
    """What one part has prepared. The caller calls either `rollback`, or `commit` and then `cleanup`, each once."""

    def commit(self) -> None:
        """Use the new configuration from now on. Must not fail.

        Not a coroutine: all parts commit within one turn of the event loop, so no request sees half of a change.
        """

    async def rollback(self) -> None:
        """Release what was prepared; the old configuration stays."""

    async def cleanup(self) -> None:
        """Release what was replaced. Called after every part has committed; may take as long as it needs."""


class Reloadable(Protocol):
    """A part of the running gateway that follows the configuration."""

    async def prepare(self, new: Config) -> PreparedChange:
        """Build what the new configuration needs, and change nothing yet.

        Also called where nothing changes for this part, and where only the content of a file changes that a key names.
        Raises ConfigError, another GatewayError or OSError, after releasing what it had built. A ConfigProblem may have
        an empty place: the caller fills in the place of its key.
        """


async def prepare_all(parts: Sequence[Reloadable], new: Config) -> list[PreparedChange]:
    """The prepared changes of every part, in the order of the parts.

    Raises what one of them raises, after rolling back the others.
    """
    changes: list[PreparedChange] = []
    try:
        for part in parts:
            changes.append(await part.prepare(new))
    except BaseException:
        await rollback_all(changes)
        raise
    return changes


async def rollback_all(changes: Sequence[PreparedChange]) -> None:
    """Roll back every change, the last first; a failure is logged and does not stop the others."""
    for change in reversed(changes):
        try:
            await change.rollback()
        except Exception:
            _log.exception("a prepared change could not be rolled back")


def commit_all(changes: Sequence[PreparedChange]) -> bool:
    """Commit every change. Returns False if one of them failed, which is a bug of that part."""
    is_whole = True
    for change in changes:
        try:
            change.commit()
        except Exception:
            # go on: with some parts on the new configuration, stopping here would leave even more of them apart
            is_whole = False
            _log.exception("a part could not switch to the new configuration")
    return is_whole


async def cleanup_all(changes: Sequence[PreparedChange]) -> None:
    """Release what every change replaced; a failure is logged and does not stop the others."""
    for change in changes:
        try:
            await change.cleanup()
        except Exception:
            _log.exception("replaced resources could not be released")
