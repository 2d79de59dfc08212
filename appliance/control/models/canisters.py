"""Canisters: their clients, and how they are polled."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from appliance.control.models.base import PRINCIPAL, WHOLE, Answer, GenerationName, Name, Request
from appliance.control.models.config import Applied

CanisterState = Literal["ok", "degraded", "idle", "paused", "draining"]
"""``degraded`` while polls fail; ``idle`` without clients, when it is not polled."""


class Polling(Answer):
    """The state of polling a canister."""

    state: Literal["ok", "degraded", "paused"]
    """``degraded`` while polls fail."""
    lag_s: float | None
    """Since the last good poll; None before the first."""
    next_nonce: int
    polls: int
    delivered: int
    polls_per_message: float | None
    failures: int
    """Consecutive failures."""
    last_error: str | None
    wait_s: float
    """The current interval between polls."""


class Canister(Answer):
    """A canister with its clients and its polling."""

    id: str
    name: str | None
    listed: bool
    """Whether it is in the configuration; an unlisted canister is shown while it has clients."""
    generation: list[GenerationName]
    state: CanisterState
    max_clients: int | None
    clients: int
    """Those that joined."""
    sessions: int
    """Of these, the open ones."""
    waiting_calls: int
    """Messages of its clients that wait for the IC."""
    polling: Polling | None
    """None if it is not polled."""


class Canisters(Answer):
    """All that are listed, then those that only have clients."""

    items: list[Canister]


class AddCanisterRequest(Request):
    """A canister to serve; the rest of its settings are in the configuration."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"id": "bkyz2-fmaaa-aaaaa-qaaaq-cai", "name": "chat", "generation": ["v1", "v2"]}]
        }
    )

    id: Annotated[str, Field(pattern=PRINCIPAL, max_length=63)]
    name: Name | None = None
    generation: Annotated[list[GenerationName], Field(min_length=1, max_length=3, default=["v2"])]
    max_clients: Annotated[int, Field(ge=1, le=1_000_000), WHOLE] | None = None
    paused: bool = False
    save: bool = False
    """Write it to the file too."""


class SaveRequest(Request):
    """Whether a change of a canister is to last."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"save": True}]})

    save: bool = False
    """Write it to the file too."""


class CanisterChanged(Answer):
    """The result of a change of one canister, which is an apply of an edited configuration."""

    canister: str
    applied: Applied
