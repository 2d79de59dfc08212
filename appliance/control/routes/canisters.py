"""Canisters: shown, paused, added and removed.

These operations edit the text of the configuration and apply it, so they are planned, recorded and rolled back like any
other change.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, cast

from fastapi import Path as InPath
from fastapi import Query

from appliance.config.schema import Canister as Settings
from appliance.config.text.edit import Value, append_item, remove_item, set_value
from appliance.control.control import Control
from appliance.control.http.problems import (
    CannotFollow,
    ConfigInvalid,
    Conflict,
    EtagMismatch,
    ForceNeeded,
    Invalid,
    NotFound,
    RestartNeeded,
    refusals,
)
from appliance.control.models import (
    AddCanisterRequest,
    Canister,
    CanisterChanged,
    Canisters,
    CanisterState,
    Polling,
    SaveRequest,
)
from appliance.control.routes.config import TRIGGER, applied
from appliance.control.routes.depends import Asked, Change, Plane
from appliance.control.routes.routing import Operations
from appliance.control.routes.selection import listed_canister
from appliance.errors import ConfigError
from appliance.gateway.peer import Peer
from appliance.gateway.polling.poller import PollerFacts
from appliance.ic.principal import Principal

router = Operations("canisters")

CanisterId = Annotated[
    str, InPath(min_length=1, max_length=63, description="Principal or name.", examples=["bkyz2-fmaaa-aaaaa-qaaaq-cai"])
]
Save = Annotated[bool, Query(description="Write it to the file too.")]
Force = Annotated[bool, Query(description="Also where it is the last canister and has sessions.")]
Edit = Callable[[str], str]

_REFUSED = (ConfigInvalid, Conflict, RestartNeeded, ForceNeeded, CannotFollow, EtagMismatch)


@router.view("/v1/canisters", "listCanisters")
async def listed(control: Plane) -> Canisters:
    """All listed canisters, then unlisted ones with clients."""
    config = control.gateway.config
    known = {canister.id: canister for canister in config.canisters}
    others = [canister_id for canister_id in control.gateway.hub.canisters() if canister_id not in known]
    return Canisters(
        items=[
            *(_canister(control, canister_id, canister) for canister_id, canister in known.items()),
            *(_canister(control, canister_id, None) for canister_id in others),
        ]
    )


@router.view("/v1/canisters/{canister}", "getCanister", NotFound, Invalid)
async def shown(control: Plane, canister: CanisterId) -> Canister:
    """One canister."""
    found = control.gateway.config.named(canister)
    if found is not None:
        return _canister(control, found.id, found)
    for canister_id in control.gateway.hub.canisters():
        if str(canister_id) == canister:
            return _canister(control, canister_id, None)
    raise NotFound(f"no canister {canister} is listed, and none of this id has clients")


@router.change("POST", "/v1/canisters", "addCanister", *_REFUSED, status_code=201)
async def add(asked: Asked, body: AddCanisterRequest) -> CanisterChanged:
    """Serve another canister. Its other settings can be changed in the configuration."""
    asked.note.target = body.id
    for handle in (body.id, body.name):
        if handle is not None and asked.control.gateway.config.named(handle) is not None:
            raise Conflict(f"{handle} is listed already")
    given = body.model_dump(exclude_none=True, exclude_defaults=True, exclude={"id", "save"})
    item: dict[str, Value] = {"id": body.id, **given}
    edit = partial(append_item, path=("canisters",), item=item)
    return await _edited(asked, body.id, edit, save=body.save)


@router.change("DELETE", "/v1/canisters/{canister}", "removeCanister", NotFound, *_REFUSED)
async def remove(asked: Asked, canister: CanisterId, save: Save = False, force: Force = False) -> CanisterChanged:
    """Stop serving a canister. Its sessions are closed at the rate that the configuration sets for drains."""
    config = asked.control.reloads.config
    found = listed_canister(canister, config)
    edit = partial(remove_item, path=("canisters", config.canisters.index(found)))
    return await _edited(asked, str(found.id), edit, save=save, force=force)


@router.change("POST", "/v1/canisters/{canister}/pause", "pauseCanister", NotFound, *_REFUSED)
async def pause(asked: Asked, canister: CanisterId, body: SaveRequest | None = None) -> CanisterChanged:
    """Accept no new clients and stop polling. Sessions stay open, and messages of clients are still relayed."""
    return await _pause(asked, canister, paused=True, save=body is not None and body.save)


@router.change("POST", "/v1/canisters/{canister}/resume", "resumeCanister", NotFound, *_REFUSED)
async def resume(asked: Asked, canister: CanisterId, body: SaveRequest | None = None) -> CanisterChanged:
    """Accept clients again and poll at once."""
    return await _pause(asked, canister, paused=False, save=body is not None and body.save)


# --- how it is done -------------------------------------------------------------------------------------------------


async def _pause(asked: Change, canister: str, *, paused: bool, save: bool) -> CanisterChanged:
    config = asked.control.reloads.config
    found = listed_canister(canister, config)
    path = ("canisters", config.canisters.index(found), "paused")
    edit = partial(set_value, path=path, value=paused) if found.paused != paused else str
    return await _edited(asked, str(found.id), edit, save=save)


async def _edited(asked: Change, canister: str, edit: Edit, *, save: bool, force: bool = False) -> CanisterChanged:
    """Apply the running text with an edit of one canister. Refuses if the edit would change anything else: the text
    may contain changes that wait for a restart.
    """
    control, actor, note = asked
    reloads = control.reloads
    note.target, note.before = canister, {"generation": reloads.revision, "etag": reloads.etag}
    origin = reloads.loaded.origins["canisters"]
    if origin.startswith(("variable", "setting")):
        raise Conflict(f"canisters are set by {origin}, which overrides the file; change it there")
    if save and await reloads.differs_from_file():
        raise Conflict("the file differs from the configuration that runs, and would be overwritten; reload it first")
    etag = reloads.etag
    try:
        text = await asyncio.to_thread(edit, reloads.loaded.text)
    except ConfigError as error:
        raise Conflict(str(error)) from None
    with refusals():
        plan = await reloads.plan(text)
        rest = [each.key for each in plan if each.canister != canister and each not in reloads.pending_restart]
        if rest:
            raise Conflict(f"{', '.join(rest)} would change too; reload first")
        outcome = await reloads.apply(text, trigger=TRIGGER, actor=actor.name, if_match=etag, force=force)
    return CanisterChanged(canister=canister, applied=await applied(control, note, outcome, save=save))


# --- what is shown --------------------------------------------------------------------------------------------------


def _canister(control: Control, canister_id: Principal, settings: Settings | None) -> Canister:
    gateway = control.gateway
    peers = cast("list[Peer]", list(gateway.hub.members(canister_id).values()))
    poller = gateway.pollers.get(canister_id)
    facts = None if poller is None else poller.facts
    served = settings or gateway.config.canister(canister_id)
    return Canister(
        id=str(canister_id),
        name=None if settings is None else settings.name,
        listed=settings is not None,
        generation=[] if served is None else list(served.generation),
        state=_state(control, canister_id, settings, facts),
        max_clients=None if settings is None else settings.max_clients,
        clients=len(peers),
        sessions=sum(1 for peer in peers if peer.is_open),
        waiting_calls=sum(len(peer.relays) for peer in peers),
        polling=None if facts is None else _polling(facts, gateway.clock()),
    )


def _state(
    control: Control, canister_id: Principal, settings: Settings | None, facts: PollerFacts | None
) -> CanisterState:
    if settings is not None and settings.paused:
        return "paused"
    if canister_id in control.gateway.canister_drains:
        return "draining"
    if facts is None:
        return "idle"
    return facts.state


def _polling(facts: PollerFacts, now_ns: int) -> Polling:
    return Polling(
        state=facts.state,
        lag_s=None if facts.last_good_ns is None else max(0.0, (now_ns - facts.last_good_ns) / 1e9),
        next_nonce=facts.next_nonce,
        polls=facts.polls,
        delivered=facts.delivered,
        polls_per_message=facts.polls / facts.delivered if facts.delivered else None,
        failures=facts.failures,
        last_error=facts.last_error,
        wait_s=facts.wait_s,
    )
