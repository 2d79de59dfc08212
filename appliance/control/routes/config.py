"""The configuration: shown, planned, applied, confirmed and rolled back."""

import difflib
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from fastapi import Header, Query
from fastapi import Path as InPath
from starlette.responses import Response

from appliance.config.history import Record
from appliance.config.plan import PlannedChange, compare
from appliance.config.render.json_schema import json_schema
from appliance.config.source import Source
from appliance.config.text.written import written
from appliance.control.control import Control
from appliance.control.http.encoding import OrjsonResponse, timestamp, to_json
from appliance.control.http.problems import (
    CannotFollow,
    ConfigInvalid,
    Conflict,
    EtagMismatch,
    ForceNeeded,
    Invalid,
    NotFound,
    RestartNeeded,
    refusal_of,
    refusals,
)
from appliance.control.models import (
    Applied,
    ApplyRequest,
    Change,
    ConfigShown,
    ConfirmRequest,
    Difference,
    Fault,
    History,
    HistoryEntry,
    HistoryText,
    Plan,
    PlanRequest,
    RollbackRequest,
)
from appliance.control.reload.outcome import Outcome
from appliance.control.routes.depends import Asked, Noted, Plane, Sender
from appliance.control.routes.routing import Note, Operations
from appliance.errors import ConfigError, RevisionReplaced
from appliance.threads import FILES

router = Operations("config")

TRIGGER = "api"
HIDDEN = "…"
"""Replaces settings of plugins for senders who are not admins: they may contain secrets."""

IfMatch = Annotated[str | None, Header(max_length=1000, description="The `etag` that must still be the one that runs.")]
Generation = Annotated[int, InPath(ge=1, lt=2**31, description="Of the configuration.", examples=[7])]
SCHEMA_TYPE = "application/schema+json"
_SCHEMA = {200: {"description": "A JSON Schema", "content": {SCHEMA_TYPE: {"schema": {"type": "object"}}}}}
_REFUSED = (ConfigInvalid, Conflict, RestartNeeded, ForceNeeded, CannotFollow)
_ETAG = {200: {"headers": {"ETag": {"schema": {"type": "string"}, "description": "For `If-Match`."}}}}


@router.view("/v1/config", "getConfig", response_model=ConfigShown, responses=_ETAG)
async def shown(control: Plane, actor: Sender) -> Response:
    """The configuration that runs, with the origin of each value."""
    reloads = control.reloads
    values = written(reloads.config)
    if not actor.may("admin"):
        values["plugins"] = [
            {**plugin, "config": dict.fromkeys(plugin["config"], HIDDEN)} for plugin in values["plugins"]
        ]
    answer = ConfigShown(
        generation=reloads.revision,
        etag=reloads.etag,
        hash=reloads.hash,
        file=file_of(control),
        differs_from_file=await reloads.differs_from_file(),
        confirm_by=confirm_by(control),
        pending_restart=_pending(control),
        values=values,
        origins=dict(reloads.loaded.origins),
        text=reloads.loaded.text if actor.may("admin") else None,
    )
    return OrjsonResponse(answer.model_dump(), headers={"ETag": f'"{reloads.etag}"'})


@router.view("/v1/config/schema", "getConfigSchema", response_class=Response, responses=_SCHEMA)
async def schema() -> Response:
    """A JSON Schema of the configuration, for editors."""
    return Response(to_json(json_schema()), media_type=SCHEMA_TYPE)


@router.change("POST", "/v1/config/plan", "planConfig", ConfigInvalid, role="admin")
async def plan(control: Plane, note: Noted, body: PlanRequest) -> Plan:
    """What applying a text, or the file as it is now, would change. Changes nothing."""
    note.changes = False
    with refusals():
        found, error = await control.reloads.review(body.text)
    return Plan(changes=changes_shown(found), refused=None if error is None else refusal_of(error).details())


@router.change("POST", "/v1/config/apply", "applyConfig", EtagMismatch, *_REFUSED, role="admin", nodes="one")
async def apply(control: Plane, actor: Sender, note: Noted, body: ApplyRequest, if_match: IfMatch = None) -> Applied:
    """Apply a text, or the file as it is now. A refused configuration changes nothing."""
    reloads = control.reloads
    if body.save and body.confirm_within_s is not None:
        raise Invalid("save: a configuration on trial is saved when it is confirmed")
    if body.save and not body.force and await reloads.file_has_other_text():
        raise ForceNeeded("the file differs from the configuration that runs, and would be overwritten")
    _before(control, note)
    with refusals():
        outcome = await reloads.apply(
            body.text,
            trigger=TRIGGER,
            actor=actor.name,
            if_match=_expected(if_match, reloads.etag),
            confirm_within_s=body.confirm_within_s,
            keep_if_healthy=body.keep_if_healthy,
            allow_restart=body.allow_restart,
            force=body.force,
        )
    return await applied(control, note, outcome, save=body.save)


@router.change(
    "POST", "/v1/config/confirm", "confirmConfig", Conflict, CannotFollow, ConfigInvalid, role="admin", nodes="one"
)
async def confirm(asked: Asked, body: ConfirmRequest | None = None) -> Applied:
    """Keep the configuration that runs on trial."""
    control, actor, note = asked
    _before(control, note)
    with refusals():
        outcome = await control.reloads.confirm(actor=actor.name)
    return await applied(control, note, outcome, save=body is not None and body.save)


@router.change("POST", "/v1/config/rollback", "rollBackConfig", NotFound, *_REFUSED, role="admin", nodes="one")
async def roll_back(asked: Asked, body: RollbackRequest | None = None) -> Applied:
    """Run a revision of the history again; without a number, the last good one before this."""
    control, actor, note = asked
    _before(control, note)
    with refusals():
        outcome = await control.reloads.roll_back(None if body is None else body.generation, actor=actor.name)
    return await applied(control, note, outcome)


@router.view("/v1/config/history", "listConfigHistory", Invalid)
async def history(
    control: Plane, limit: Annotated[int, Query(ge=1, le=10_000, description="How many.")] = 100
) -> History:
    """Every revision in the history, the newest first."""
    return History(items=[HistoryEntry(**_entry(control, record)) for record in list(control.reloads.history)[:limit]])


@router.view("/v1/config/history/{generation}", "getConfigOfHistory", NotFound, Invalid, role="admin")
async def of_history(control: Plane, generation: Generation) -> HistoryText:
    """One revision, with its text."""
    record = _record(control, generation)
    return HistoryText(**_entry(control, record), text=record.text)


@router.view("/v1/config/history/{generation}/diff", "diffConfigHistory", NotFound, ConfigInvalid, role="admin")
async def diff(
    control: Plane,
    generation: Generation,
    other: Annotated[
        int | None,
        Query(alias="with", ge=1, lt=2**31, description="The revision to compare with; if absent, the one that runs."),
    ] = None,
) -> Difference:
    """The changes from another revision to this one."""
    new, old = _record(control, generation), _record(control, other or control.reloads.revision)
    with refusals():
        changes = await FILES.run(_compared, control.reloads.source, old, new)
    text = await FILES.run(_unified, old, new)
    return Difference(old=old.revision, new=new.revision, changes=changes, text=text)


# --- shared with other routes ---------------------------------------------------------------------------------------


async def applied(control: Control, note: Note, outcome: Outcome, *, save: bool = False) -> Applied:
    """The configuration that runs after an outcome, for the response and for the audit log; with ``save`` it is
    written to the file too. Raises Conflict if the file cannot be written, or if another revision runs by now: the
    change stays applied, and the file as it was.
    """
    reloads = control.reloads
    note.after = {"generation": outcome.revision, "result": outcome.result, "changes": _audited(outcome)}
    if save:
        try:
            await reloads.save(outcome.revision)
        except RevisionReplaced as error:
            raise Conflict(f"the file is as it was: {error}") from error
        except (ConfigError, OSError) as error:
            raise Conflict(f"revision {outcome.revision} runs, but cannot be saved: {error}") from error
    return Applied(
        result=outcome.result,
        generation=outcome.revision,
        etag=reloads.etag,
        changes=changes_shown(outcome.plan),
        pending_restart=_pending(control),
        confirm_by=None if outcome.confirm_by_ns is None else timestamp(outcome.confirm_by_ns),
        differs_from_file=await reloads.differs_from_file(),
        not_kept=outcome.not_kept,
        warnings=[Fault(place=each.place, key=each.key, problem=each.problem) for each in reloads.loaded.warnings],
    )


def changes_shown(changes: Iterable[PlannedChange]) -> list[Change]:
    """The changes of a plan."""
    return [
        Change(
            key=change.key,
            canister_name=change.canister_name,
            old=change.old,
            new=change.new,
            effect=change.effect,
            sessions=change.sessions,
            in_file=change.in_file,
        )
        for change in changes
    ]


def confirm_by(control: Control) -> datetime | None:
    """The deadline of the trial, None without one."""
    trial = control.reloads.trial
    return None if trial is None else timestamp(trial.confirm_by_ns)


def file_of(control: Control) -> str | None:
    """The absolute path of the configuration file: clients may run in another folder."""
    file = control.reloads.source.file
    return None if file is None else str(file.absolute())


def _compared(source: Source, old: Record, new: Record) -> list[Change]:
    """Raises ConfigError."""
    loaded = [source.load(record.text, name=f"revision {record.revision}") for record in (old, new)]
    return changes_shown(compare(*loaded))


def _unified(old: Record, new: Record) -> str:
    before, after = (record.text.splitlines(keepends=True) for record in (old, new))
    lines = difflib.unified_diff(before, after, f"revision {old.revision}", f"revision {new.revision}")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _before(control: Control, note: Note) -> None:
    note.before = {"generation": control.reloads.revision, "etag": control.reloads.etag}


def _audited(outcome: Outcome) -> list[dict[str, Any]]:
    """The changes, without values of plugins: they may contain secrets."""
    return [
        {"key": change.key, "old": change.old, "new": change.new}
        if not change.key.startswith("plugins")
        else {"key": change.key}
        for change in outcome.plan
    ]


def _expected(if_match: str | None, running: str) -> str | None:
    """The etag that must run, None where anything may (RFC 9110, section 13.1.1). A weak one matches nothing."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = [tag.strip().removeprefix('"').removesuffix('"') for tag in if_match.split(",")]
    return running if running in tags else tags[0]


def _pending(control: Control) -> list[str]:
    return [change.key for change in control.reloads.pending_restart]


def _record(control: Control, generation: int) -> Record:
    with refusals():
        return control.reloads.history[generation]


def _entry(control: Control, record: Record) -> dict[str, Any]:
    return {
        "generation": record.revision,
        "state": record.state,
        "at": timestamp(record.at_ns),
        "actor": record.actor,
        "trigger": record.trigger,
        "hash": record.hash,
        "is_running": record.revision == control.reloads.revision,
        "problem": record.problem,
    }
