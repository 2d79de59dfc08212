"""Canisters: shown, paused, added and removed.

These operations edit the text of the configuration and apply it, so they are planned, recorded and rolled back like any
other change.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, cast

from fastapi import Path as InPath
from fastapi import Query

from appliance.config.schema import Canister as Settings
from appliance.config.schema import Config
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
    Fault,
    Polling,
    SaveRequest,
)
from appliance.control.reload.outcome import Outcome
from appliance.control.routes.config import TRIGGER, applied
from appliance.control.routes.depends import Asked, Change, Plane
from appliance.control.routes.routing import Operations
from appliance.control.routes.selection import listed_canister, served_canister
from appliance.errors import ConfigError
from appliance.gateway.peer import Peer
from appliance.gateway.polling.poller_facts import PollerFacts
from appliance.ic.principal import Principal
from appliance.threads import FILES

router = Operations("canisters")

CanisterId = Annotated[
    str, InPath(min_length=1, max_length=63, description="Principal or name.", examples=["bkyz2-fmaaa-aaaaa-qaaaq-cai"])
]
Save = Annotated[bool, Query(description="Write it to the file too.")]
Force = Annotated[bool, Query(description="Also where it is the last canister and has sessions.")]
Edit = Callable[[Config], Callable[[str], str]]
"""Returns the edit of a text; made for the configuration of that text, which the positions in lists are of. Raises
NotFound and Conflict.
"""
ATTEMPTS = 2
"""Of an edit, where another change comes in between: the caller named no revision, so it may follow that one."""

_REFUSED = (ConfigInvalid, Conflict, RestartNeeded, ForceNeeded, CannotFollow)


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
    return _canister(control, served_canister(canister, control.gateway), control.gateway.config.named(canister))


@router.change("POST", "/v1/canisters", "addCanister", *_REFUSED, status_code=201)
async def add(asked: Asked, body: AddCanisterRequest) -> CanisterChanged:
    """Serve another canister. Its other settings can be changed in the configuration."""
    asked.note.target = body.id
    given = body.model_dump(exclude_none=True, exclude_defaults=True, exclude={"id", "save"})
    item: dict[str, Value] = {"id": body.id, **given}

    def edit(config: Config) -> Callable[[str], str]:
        for handle in (body.id, body.name):
            if handle is not None and config.named(handle) is not None:
                raise Conflict(f"{handle} is listed already")
        return partial(append_item, path=("canisters",), item=item)

    return await _edited(asked, body.id, edit, save=body.save)


@router.change("DELETE", "/v1/canisters/{canister}", "removeCanister", NotFound, *_REFUSED)
async def remove(asked: Asked, canister: CanisterId, save: Save = False, force: Force = False) -> CanisterChanged:
    """Stop serving a canister. Its sessions are closed at the rate that the configuration sets for drains."""
    canister_id = _listed_id(asked, canister)

    def edit(config: Config) -> Callable[[str], str]:
        found = listed_canister(canister_id, config)
        return partial(remove_item, path=("canisters", config.canisters.index(found)))

    return await _edited(asked, canister_id, edit, save=save, force=force)


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
    canister_id = _listed_id(asked, canister)

    def edit(config: Config) -> Callable[[str], str]:
        found = listed_canister(canister_id, config)
        path = ("canisters", config.canisters.index(found), "paused")
        return partial(set_value, path=path, value=paused) if found.paused != paused else str

    return await _edited(asked, canister_id, edit, save=save)


def _listed_id(asked: Change, canister: str) -> str:
    return str(listed_canister(canister, asked.control.reloads.config).id)


async def _edited(asked: Change, canister: str, edit: Edit, *, save: bool, force: bool = False) -> CanisterChanged:
    """Apply the running text with an edit of one canister."""
    control, _, note = asked
    note.target = canister
    note.before = {"generation": control.reloads.revision, "etag": control.reloads.etag}
    for attempts_left in reversed(range(ATTEMPTS)):
        try:
            outcome = await _apply_edit(asked, canister, edit, save=save, force=force)
        except EtagMismatch:
            if not attempts_left:
                raise Conflict("other changes of the configuration came in between; try again") from None
        else:
            break
    return CanisterChanged(canister=canister, applied=await applied(control, note, outcome, save=save))


async def _apply_edit(asked: Change, canister: str, edit: Edit, *, save: bool, force: bool) -> Outcome:
    """Refuses if the edit would change anything else: the text may contain changes that wait for a restart. Raises
    EtagMismatch if another change came in between.
    """
    reloads = asked.control.reloads
    etag, loaded = reloads.etag, reloads.loaded
    origin = loaded.origins["canisters"]
    if origin.startswith(("variable", "setting")):
        raise Conflict(f"canisters are set by {origin}, which overrides the file; change it there")
    if save and await reloads.file_has_other_text():
        raise Conflict("the file differs from the configuration that runs, and would be overwritten; reload it first")
    try:
        text = await FILES.run(edit(loaded.config), loaded.text)
    except ConfigError as error:
        raise Conflict(str(error)) from None
    with _faults_of_request(f"canisters[{len(loaded.config.canisters)}]."), refusals():
        plan = await reloads.plan(text)
        waiting = reloads.pending_restart
        rest = [each.key for each in plan if each.canister != canister and each not in waiting]
        if rest and reloads.etag == etag:  # otherwise it may be the change that came in between
            raise Conflict(f"{', '.join(rest)} would change too; reload first")
        return await reloads.apply(text, trigger=TRIGGER, actor=asked.actor.name, if_match=etag, force=force)


@contextmanager
def _faults_of_request(added: str) -> Iterator[None]:
    """Name faults by the fields of the request: the sender has never seen the edited text, whose lines they are in.
    ``added`` is the key that those of an added canister begin with.
    """
    try:
        yield
    except ConfigInvalid as error:
        faults = [_fault_of_request(fault, added) for fault in error.errors or ()]
        detail = "; ".join(f"{fault.key}: {fault.problem}" for fault in faults)
        raise ConfigInvalid(detail or error.detail, errors=faults) from error


def _fault_of_request(fault: Fault, added: str) -> Fault:
    is_ours = fault.key.startswith(added)
    place = "body" if is_ours else "configuration"
    return Fault(place=place, key=fault.key.removeprefix(added), problem=fault.problem)


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
