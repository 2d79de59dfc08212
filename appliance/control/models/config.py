"""The configuration: shown, planned, applied, and its history."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from appliance.control.models.base import WHOLE, Answer, Fault, ProblemDetails, Request

Effect = Literal["live", "new sessions", "restart"]
"""When a changed key takes effect."""
MAX_TEXT = 1024**2
"""Characters of a configuration."""
Text = Annotated[str, Field(max_length=MAX_TEXT)]


class Change(Answer):
    """A key whose value would change, or has changed."""

    key: str
    """For example ``canisters[bkyz2-fmaaa-aaaaa-qaaaq-cai].polling.min_interval``."""
    canister_name: str | None = None
    """The name of the canister that the key is about."""
    old: Any
    """As written in the file; None if it was absent."""
    new: Any
    """None if it is removed."""
    in_file: bool = False
    """The value is the same, but the content of the file that it names has changed."""
    effect: Effect
    sessions: int
    """How many sessions are affected."""


class ConfigShown(Answer):
    """The configuration that runs."""

    generation: int
    etag: str
    hash: str
    file: str | None
    differs_from_file: bool
    confirm_by: datetime | None
    pending_restart: list[str]
    """Keys whose new value waits for a restart."""
    values: dict[str, Any]
    """Every key with its value, as it would be written in the file."""
    origins: dict[str, str]
    """The origin of each value: a place in the file, a variable, a setting of the command line, or ``default``."""
    text: str | None
    """The text; None unless the sender is an admin, because settings of plugins may contain secrets."""


class PlanRequest(Request):
    """A configuration to plan."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "version: 1\n"}]})

    text: Text | None = None
    """The content of ``gateway.yaml``; if absent, the file as it is now."""


class Plan(Answer):
    """The planned changes."""

    changes: list[Change]
    refused: ProblemDetails | None = None
    """Why it would be refused."""


class ApplyRequest(PlanRequest):
    """A configuration to apply."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"confirm_within_s": 60}]})

    confirm_within_s: Annotated[float, Field(ge=1, le=86_400)] | None = None
    """Roll back automatically unless confirmed within this time."""
    keep_if_healthy: bool = False
    """Do not roll back then if every readiness check passes. Refused with several workers."""
    allow_restart: bool = False
    """Apply the other changes if some keys need a restart; these wait for it."""
    force: bool = False
    """Apply even if this removes every canister while sessions are open, or overwrites a file that differs from what
    runs.
    """
    save: bool = False
    """Write it to the file too; on trial only after the confirmation."""


class Applied(Answer):
    """The configuration that runs now."""

    result: Literal["started", "applied", "unchanged", "rejected", "confirmed", "rolled back"]
    generation: int
    etag: str
    changes: list[Change]
    pending_restart: list[str]
    confirm_by: datetime | None
    differs_from_file: bool
    not_kept: str | None = None
    """Why the history on disk does not have this revision, so that another start does not know it; null if it has."""
    warnings: list[Fault] = Field(default_factory=list)
    """What is taken and is hardly wanted, such as a key that has another name now."""


class ConfirmRequest(Request):
    """Keeps the configuration that runs on trial."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"save": True}]})

    save: bool = False
    """Write it to the file too."""


class RollbackRequest(Request):
    """A revision to go back to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"generation": 7}]})

    generation: Annotated[int, Field(ge=1, lt=2**31), WHOLE] | None = None
    """If absent, the last good one before this."""


class HistoryEntry(Answer):
    """A revision of the configuration, applied or refused."""

    generation: int
    state: str
    """``candidate``, ``good``, ``rejected`` or ``rolled back``."""
    at: datetime
    actor: str
    trigger: str
    hash: str
    is_running: bool
    problem: str | None = None


class History(Answer):
    """The newest first."""

    items: list[HistoryEntry]


class HistoryText(HistoryEntry):
    """With its text."""

    text: str


class Difference(Answer):
    """The difference between two revisions."""

    old: int
    new: int
    changes: list[Change]
    text: str
    """A unified diff; empty if the texts are equal."""
