"""The configuration: shown, planned, applied, and what it was."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from appliance.control.models.base import WHOLE, Answer, ProblemDetails, Request

Effect = Literal["live", "new sessions", "restart"]
"""When a changed key takes effect."""
MAX_TEXT = 1024**2
"""Characters of a configuration."""
Text = Annotated[str, Field(max_length=MAX_TEXT)]


class Change(Answer):
    """A key whose value would be, or was, another one."""

    key: str
    """For example ``canisters[bkyz2-fmaaa-aaaaa-qaaaq-cai].polling.min_interval``."""
    old: Any
    """As it is written; None where it was not there."""
    new: Any
    """None where it is not there any more."""
    in_file: bool = False
    """The key is the same, and the file that it names has another content."""
    effect: Effect
    sessions: int
    """How many sessions are touched."""


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
    """Every key with its value, written as in the file."""
    origins: dict[str, str]
    """Where each value is from: a place in the file, a variable, a setting of the command line, or ``default``."""
    text: str | None
    """As it was given; None for those who are no admin, as plugins may have secrets in it."""


class PlanRequest(Request):
    """A configuration to look at."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "version: 1\n"}]})

    text: Text | None = None
    """What ``gateway.yaml`` would hold; the file as it is if absent."""


class Plan(Answer):
    """What would change."""

    changes: list[Change]
    refused: ProblemDetails | None = None
    """Why it would not be applied."""


class ApplyRequest(PlanRequest):
    """A configuration to run."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"confirm_within_s": 60}]})

    confirm_within_s: Annotated[float, Field(ge=1, le=86_400)] | None = None
    """Roll back by itself unless it is confirmed in time."""
    keep_if_healthy: bool = False
    """Do not roll back then if nothing is wrong with the gateway."""
    allow_restart: bool = False
    """Apply the rest where some keys need a restart; those wait for it."""
    force: bool = False
    """Also where every canister would go while sessions are open, or the file be overwritten that says something else
    than what runs."""
    save: bool = False
    """Write it to the file too; on trial only when it is confirmed."""


class Applied(Answer):
    """What runs now."""

    result: Literal["started", "applied", "unchanged", "rejected", "confirmed", "rolled back"]
    generation: int
    etag: str
    changes: list[Change]
    pending_restart: list[str]
    confirm_by: datetime | None
    differs_from_file: bool


class ConfirmRequest(Request):
    """That a configuration which runs on trial is to stay."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"save": True}]})

    save: bool = False
    """Write it to the file too."""


class RollbackRequest(Request):
    """A generation to go back to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"generation": 7}]})

    generation: Annotated[int, Field(ge=1, lt=2**31), WHOLE] | None = None
    """The last good one before this if absent."""


class HistoryEntry(Answer):
    """A configuration that ran, or was to run."""

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
    """With what it said."""

    text: str


class Difference(Answer):
    """From one generation to another."""

    old: int
    new: int
    changes: list[Change]
    text: str
    """As a unified diff; empty where they are the same."""
