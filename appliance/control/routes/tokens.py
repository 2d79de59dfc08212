"""Tokens of the API."""

import asyncio
from collections.abc import Callable
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Path as InPath

from appliance.control.http.problems import Conflict, NotFound
from appliance.control.models import AddTokenRequest, Name, NewToken, Token, Tokens
from appliance.control.routes.depends import Noted, Plane
from appliance.control.routes.routing import Operations
from appliance.errors import ConfigError
from appliance.threads import FILE_TIMEOUT_S, FILES

P = ParamSpec("P")
T = TypeVar("T")

router = Operations("tokens")

Named = Annotated[Name, InPath(description="Of a token.", examples=["grafana"])]


@router.view("/v1/tokens", "listTokens", role="admin")
async def listed(control: Plane) -> Tokens:
    """Who may use the API over TCP, with which role."""
    return Tokens(items=[Token(name=grant.name, role=grant.role) for grant in await control.tokens.grants()])


@router.change("POST", "/v1/tokens", "addToken", Conflict, role="admin", status_code=201)
async def add(control: Plane, note: Noted, body: AddTokenRequest) -> NewToken:
    """Make a token. The answer is the only place where it is shown; the file has its hash."""
    note.target, note.after = body.name, body.role
    try:
        token = await _in_time(control.tokens.add, body.name, body.role)
    except (ValueError, OSError, ConfigError) as error:
        raise Conflict(str(error)) from None
    return NewToken(name=body.name, role=body.role, token=token)


@router.change("DELETE", "/v1/tokens/{name}", "removeToken", NotFound, Conflict, role="admin")
async def remove(control: Plane, note: Noted, name: Named) -> Token:
    """End a token at once."""
    grant = next((grant for grant in await control.tokens.grants() if grant.name == name), None)
    if grant is None:
        raise NotFound(f"there is no token named {name}")
    note.before = grant.role
    try:
        await _in_time(control.tokens.remove, name)
    except KeyError:  # another request has removed it meanwhile
        raise NotFound(f"there is no token named {name}") from None
    except (OSError, ConfigError) as error:
        raise Conflict(str(error)) from None
    return Token(name=name, role=grant.role)


async def _in_time(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it in a thread, with a limit: the file system may hang."""
    try:
        async with asyncio.timeout(FILE_TIMEOUT_S):
            return await FILES.run(function, *args, **kwargs)
    except TimeoutError:
        raise Conflict(f"the file of tokens is not written within {FILE_TIMEOUT_S:g} s") from None
