"""Configurations that cannot be applied."""

import dataclasses

from appliance.errors.base import GatewayError


@dataclasses.dataclass(eq=False)
class ConfigProblem:
    """One mistake in a configuration: its place, its key, the problem and the remedy."""

    place: str
    key: str
    problem: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place, self.key, self.problem) if part)


class ConfigError(GatewayError, reason="config"):
    """A configuration that cannot be used. ``problems`` has every fault found, in file order."""

    problems: list[ConfigProblem]

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class CannotRunNow(GatewayError, reason="cannot_run_now"):
    """A configuration that is valid and cannot run here now, for example because an address is taken. Another attempt
    may succeed.
    """

    problems: list[ConfigProblem]

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class JournalUnusable(GatewayError, reason="journal_unusable"):
    """The journal of clients cannot be opened."""

    file: str
    problem: str
    sentence = "the journal {file} cannot be used: {problem}; see gateway.journal"


class RestartNeeded(ConfigError, reason="restart_needed"):
    """A configuration with a change that needs a restart. ``problems`` has each such key."""


class ForceNeeded(ConfigError, reason="force_needed"):
    """A configuration that would remove every canister while sessions are open."""


class ReloadError(GatewayError, reason="reload"):
    """The configuration cannot be changed as requested. Nothing was changed."""


class ReloadFailed(ReloadError, reason="reload_failed"):
    """A part of the gateway failed to apply a configuration that it had prepared for."""

    sentence = "a part of the gateway failed to apply the configuration; the previous one was restored, see the log"


class ReloadTooLate(ReloadError, reason="reload_too_late"):
    """The gateway stops, and begins nothing new."""

    sentence = "the gateway is stopping: its configuration stays as it is"


class EtagMismatch(ReloadError, reason="etag_mismatch"):
    """A change was made for another configuration than the running one. Both are etags."""

    expected: str
    running: str
    sentence = "the configuration has changed: {running} is running, not {expected}; read it again"


class ConfirmationPending(ReloadError, reason="confirmation_pending"):
    """A configuration runs on trial."""

    revision: int
    sentence = "revision {revision} of the configuration is on trial; confirm it or roll it back first"


class NothingToTry(ReloadError, reason="nothing_to_try"):
    """A trial of the text that runs already, where only contents of files have changed that it names: no revision has
    those that were there before.
    """

    sentence = (
        "only contents of files have changed, and what was in them before is not kept: a trial could not take it back; "
        "apply it without one"
    )


class RevisionReplaced(ReloadError, reason="revision_replaced"):
    """A revision that was to be written to the file does not run any more."""

    revision: int
    running: int
    sentence = "revision {running} of the configuration has replaced revision {revision}; save that one if it is wanted"


class NothingToConfirm(ReloadError, reason="nothing_to_confirm"):
    """No configuration runs on trial."""

    sentence = "no configuration is waiting for confirmation; was it rolled back already?"


class NothingToRollBackTo(ReloadError, reason="nothing_to_roll_back_to"):
    """No other configuration is known to be good."""

    sentence = "there is no other good revision of the configuration to roll back to"


class RevisionUnknown(ReloadError, reason="generation_unknown"):
    """The history of the configuration does not have this revision, or not any more."""

    revision: int
    sentence = "revision {revision} of the configuration is not in the history"
