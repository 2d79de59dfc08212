"""Who may ask for what: the door that every request comes through.

Over a Unix socket the permissions of its file decide who gets in, and whoever does is an admin. Over TCP a bearer token
is needed. Both refuse what a page of another site makes somebody's browser send: a socket may be forwarded to a port
(``ssh -L``), and then nothing but these checks stands between it and the sites that this somebody visits.
"""

import ipaddress
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.control.models import Role
from appliance.control.problems import CrossOrigin, Problem, RoleTooSmall, Unauthorized, WrongHost, answer
from appliance.control.tokens import ROLES, Tokens

ACTOR = "icws.actor"
"""Key of the scope under which the actor is, None for nobody."""

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
"""Headers of every answer that does not set its own."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who sends a request: ``unix:USER`` or ``token:NAME``, and where from."""

    name: str
    role: Role
    address: str

    def may(self, role: Role) -> bool:
        """Whether this is enough where `role` is needed."""
        return ROLES.index(self.role) >= ROLES.index(role)


def require(actor: Actor | None, role: Role) -> Actor:
    """The actor, if it may do what needs this role. Raises Unauthorized or RoleTooSmall."""
    if actor is None:
        raise Unauthorized("send a token of this gateway: Authorization: Bearer …")
    if not actor.may(role):
        raise RoleTooSmall(f"{actor.name} is {actor.role}, this needs {role}")
    return actor


def check_host(host: str | None, names: Collection[str]) -> None:
    """See that a request is for us: an address, ``localhost`` or one of these names. Raises WrongHost.

    A site whose name is made to lead here (DNS rebinding) has a name of its own.
    """
    if not host:
        raise WrongHost("the request has no Host")
    name = host.lower()
    if not name.endswith("]"):
        before, colon, port = name.rpartition(":")
        name = before if colon and port.isdigit() else name
    if name == "localhost" or name.endswith(".localhost") or name in names or _is_address(name.strip("[]")):
        return
    raise WrongHost(f"{host[:100]!r} is not known to be this gateway; name it in control.hosts if it is")


def check_origin(method: str, headers: Mapping[str, str]) -> None:
    """See that no page of another site sent a request. Raises CrossOrigin.

    Following a link from elsewhere to a page of ours is harmless: it changes nothing, and its answer is not theirs.
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


class Guard:
    """The application behind its door. Puts the actor into the scope for routes to look at."""

    def __init__(
        self,
        app: ASGIApp,
        tokens: Tokens,
        *,
        over: Literal["unix", "tcp"],
        hosts: Callable[[], Collection[str]] = lambda: (),
    ) -> None:
        """``over`` is how requests come in, ``hosts`` tells the names that they may be for."""
        self._app = app
        self._tokens = tokens
        self._over = over
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            await send(secured(message))

        try:
            scope[ACTOR] = self.admit(scope)
        except Problem as problem:
            await answer(problem, scope["path"])(scope, receive, send_secured)
            return
        await self._app(scope, receive, send_secured)

    def admit(self, scope: Scope) -> Actor | None:
        """Who sends a request, None for nobody. Raises WrongHost, CrossOrigin or Unauthorized."""
        headers = Headers(scope=scope)
        check_host(headers.get("host"), self._hosts())
        check_origin(scope["method"], headers)
        address = str((scope.get("client") or ("unix",))[0])
        authorization = headers.get("authorization")
        if authorization is None:
            return Actor(address, "admin", "unix") if self._over == "unix" else None
        grant = self._tokens.find(bearer(authorization))
        if grant is None:
            raise Unauthorized("nobody has this token")
        return Actor(f"token:{grant.name}", grant.role, "unix" if self._over == "unix" else address)


def secured(message: Message) -> Message:
    """The beginning of an answer, with the headers that browsers heed."""
    if message["type"] != "http.response.start":
        return message
    headers = list(message.get("headers", ()))
    present = {name.lower() for name, _ in headers}
    return {**message, "headers": headers + [pair for pair in _SECURE.items() if pair[0] not in present]}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
