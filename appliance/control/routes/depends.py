"""Dependencies of operations: the gateway, the actor, and the note for the audit log."""

from typing import Annotated, NamedTuple, cast

from fastapi import Depends, Request

from appliance.control.auth.access import ACTOR, Actor
from appliance.control.auth.access import require as _require
from appliance.control.control import Control
from appliance.control.routes.routing import Note


def _control(request: Request) -> Control:
    return cast("Control", request.app.state.control)


def _actor(request: Request) -> Actor:
    return _require(request.scope.get(ACTOR), "viewer")


def _note(request: Request) -> Note:
    return cast("Note", request.state.note)


class Change(NamedTuple):
    """A requested change: the gateway, the actor, and the note for the audit log."""

    control: Control
    actor: Actor
    note: Note


def _change(request: Request) -> Change:
    return Change(_control(request), _actor(request), _note(request))


Plane = Annotated[Control, Depends(_control)]
Sender = Annotated[Actor, Depends(_actor)]
Noted = Annotated[Note, Depends(_note)]
Asked = Annotated[Change, Depends(_change)]
