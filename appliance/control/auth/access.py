"""Access control of the API: every request passes through here.

Over a Unix socket the permissions of its file decide who may connect, and everybody who can is an admin. Over TCP a
bearer token is needed. Both refuse requests that a page of another site makes a browser send. The Unix socket needs
this too: it may be forwarded to a local port (``ssh -L``), where any site that the operator visits could send requests
to it.
"""

import asyncio
import ipaddress
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.control.auth.tokens import ROLES, Tokens
from appliance.control.http.problems import (
    CrossOrigin,
    Problem,
    RoleTooSmall,
    TooManyRequests,
    Unauthorized,
    WrongHost,
    answer,
)
from appliance.control.http.server import ADMITTED
from appliance.control.models import Role
from appliance.gateway.limits.rate_limits import LimitExceeded
from appliance.gateway.sockets.http import HEALTH_PATHS

ACTOR = "icws.actor"
"""Key of the ASGI scope that holds the actor; its value is None for a request without a token."""

STILL_ADMITTED = "icws.still_admitted"
"""Key of the ASGI scope that holds an asynchronous function: whether its actor would be admitted again now, for answers
that do not end.
"""

HEALTH_DELAY_S = 0.5
"""For health checks above the limit. They are not refused: an orchestrator whose checks come from the address of
whoever floods would restart the gateway."""
_SCHEMES = ("http://", "https://")
_SECURE = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}
"""Default headers of every response."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The sender of a request: ``unix:USER`` or ``token:NAME``, its role, and its address."""

    name: str
    role: Role
    address: str

    def may(self, role: Role) -> bool:
        """Whether the actor has this role or a higher one."""
        return ROLES.index(self.role) >= ROLES.index(role)


def require(actor: Actor | None, role: Role) -> Actor:
    """The actor, if it has this role or a higher one. Raises Unauthorized or RoleTooSmall."""
    if actor is None:
        raise Unauthorized("send a token of this gateway: Authorization: Bearer …")
    if not actor.may(role):
        raise RoleTooSmall(f"{actor.name} is {actor.role}, this needs {role}")
    return actor


def check_host(host: str | None, names: Collection[str]) -> None:
    """Check that a request names an address, ``localhost`` or one of these names as its host. Raises WrongHost.

    This stops DNS rebinding: a hostile site can make its own name resolve to our address, but the name stays its own.
    """
    if not host:
        raise WrongHost("the request has no Host header")
    name = host.lower()
    if not name.endswith("]"):
        before, colon, port = name.rpartition(":")
        name = before if colon and port.isdigit() else name
    if name == "localhost" or name.endswith(".localhost") or name in names or _is_address(name.strip("[]")):
        return
    raise WrongHost(f"{host[:100]!r} is not a name of this gateway; if it should be, add it to control.hosts")


def check_origin(method: str, headers: Mapping[str, str]) -> None:
    """Check that no page of another site sent a request. Raises CrossOrigin.

    Following a link from another site to our page is allowed: a GET changes nothing, and that site cannot read the
    response.
    """
    site = headers.get("sec-fetch-site", "none")
    is_link = (method, headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == ("GET", "navigate", "document")
    if site not in ("none", "same-origin") and not is_link:
        raise CrossOrigin(f"a page of another site sent this (Sec-Fetch-Site: {site[:40]})")
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in [scheme + headers.get("host", "").lower() for scheme in _SCHEMES]:
        raise CrossOrigin(f"a page of {origin[:100]} sent this")


def bearer(authorization: str) -> str:
    """The token of an Authorization header. Raises Unauthorized."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("the Authorization header must be: Bearer, a space, and the token")
    return token.strip()


class AccessControl:
    """ASGI middleware that refuses foreign requests and puts the actor into the scope, for routes to check its role."""

    def __init__(
        self,
        app: ASGIApp,
        tokens: Tokens,
        *,
        over: Literal["unix", "tcp"],
        hosts: Callable[[], Collection[str]] = lambda: (),
        exceeded: Callable[[str], LimitExceeded | None] = lambda _: None,
    ) -> None:
        """``over`` is the transport of the requests, ``hosts`` returns the host names that they may use. ``exceeded``
        counts a request without a valid token, by the address that sent it.
        """
        self._app = app
        self._tokens = tokens
        self._over = over
        self._hosts = hosts
        self._exceeded = exceeded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            await send(secured(message))

        try:
            scope[ACTOR] = await self._admit_within_limit(scope)
            scope[ADMITTED] = scope[ACTOR] is not None
            scope[STILL_ADMITTED] = partial(self._is_still_admitted, scope)
        except Problem as problem:
            await answer(problem, scope["path"])(scope, receive, send_secured)
            return
        await self._app(scope, receive, send_secured)

    async def _is_still_admitted(self, scope: Scope) -> bool:
        try:
            return bool(await self.admit(scope) == scope[ACTOR])
        except Problem:
            return False

    async def _admit_within_limit(self, scope: Scope) -> Actor | None:
        """As ``admit``. Raises TooManyRequests too."""
        actor = None
        try:
            actor = await self.admit(scope)
        finally:
            if actor is None and self._over == "tcp":
                await self._count(scope)
        return actor

    async def _count(self, scope: Scope) -> None:
        exceeded = self._exceeded(_address(scope))
        if exceeded is None or not exceeded.is_enforced:
            return
        if _is_health(scope):
            await asyncio.sleep(HEALTH_DELAY_S)
        else:
            raise TooManyRequests(str(exceeded.error()), headers=exceeded.headers())

    async def admit(self, scope: Scope) -> Actor | None:
        """The actor of a request, None without a token. Raises WrongHost, CrossOrigin or Unauthorized.

        Health without details is for everybody: monitors send no Host (HTTP/1.0) or one of their own, and the one word
        of the answer is of no use to a page of another site.
        """
        if _is_health(scope):
            return None
        headers = Headers(scope=scope)
        check_host(headers.get("host"), self._hosts())
        check_origin(scope["method"], headers)
        address = _address(scope)
        authorization = headers.get("authorization")
        if authorization is None:
            return Actor(address, "admin", "unix") if self._over == "unix" else None
        grant = await self._tokens.lookup(bearer(authorization))
        if grant is None:
            raise Unauthorized("this token is not known here")
        return Actor(f"token:{grant.name}", grant.role, "unix" if self._over == "unix" else address)


VOUCHED = b"icws-actor"
"""Header by which a supervisor says for whom it asks its worker: JSON of name, role and address, null for nobody."""


class Vouched:
    """ASGI middleware of a worker: its supervisor has admitted the sender, and alone reaches its socket."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            said = dict(scope["headers"]).get(VOUCHED, b"null")
            given = json.loads(said)
            scope[ACTOR] = None if given is None else Actor(*given)
            scope[ADMITTED] = True
            scope[STILL_ADMITTED] = _always
        await self._app(scope, receive, send)


async def _always() -> bool:
    return True


def secured(message: Message) -> Message:
    """The start of a response, with security headers for browsers added."""
    if message["type"] != "http.response.start":
        return message
    headers = list(message.get("headers", ()))
    present = {name.lower() for name, _ in headers}
    return {**message, "headers": headers + [pair for pair in _SECURE.items() if pair[0] not in present]}


def _is_health(scope: Scope) -> bool:
    return scope["path"] in HEALTH_PATHS and not scope["query_string"]


def _address(scope: Scope) -> str:
    return str((scope.get("client") or ("unix",))[0])


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
