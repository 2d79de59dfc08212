"""Serves the page. Nothing in it is secret: what there is to see, its script asks the API for."""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import get_args

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from appliance.control.models import EventKind, GenerationName, LogLevel, Role, SessionState
from appliance.control.page.close_codes import NORMAL, meanings

VIEWS = (
    ("overview", "Overview"),
    ("canisters", "Canisters"),
    ("sessions", "Sessions"),
    ("config", "Configuration"),
    ("drain", "Drain"),
    ("limits", "Limits"),
    ("plugins", "Plugins"),
    ("events", "Events"),
    ("access", "Access"),
)
"""What the page shows, by the names in its addresses."""
CLOSE_CODES = (
    ("4109", "4109: closed by the operator, come back"),
    ("4509", "4509: not served here, do not come back"),
)
HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""Of every answer: the page runs its own script and no other, talks to its own API only, and is in nobody's frame."""
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def page_routes() -> list[BaseRoute]:
    """The page at ``/``, the description of the API at ``/docs``, and their files below ``/static/``. Everybody is let
    in.
    """
    return [
        Route("/", _document, methods=["GET"], include_in_schema=False),
        Route("/docs", _api_document, methods=["GET"], include_in_schema=False),
        Route("/static/{path:path}", _file, methods=["GET"], include_in_schema=False),
    ]


async def _document(request: Request) -> Response:
    return _answer(request, document(), "text/html")


async def _api_document(request: Request) -> Response:
    return _answer(request, api_document(), "text/html")


async def _file(request: Request) -> Response:
    path: str = request.path_params["path"]
    content = static_files().get(path)
    if content is None:
        raise HTTPException(404)
    return _answer(request, content, MEDIA_TYPES[path[path.rindex(".") :]])


def _answer(request: Request, content: bytes, media_type: str) -> Response:
    """With an entity tag: a browser that has the current version gets 304 without a body (RFC 9110, section 13.1.2)."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {**HEADERS, "ETag": etag}
    if etag in [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=f"{media_type}; charset=utf-8")


@cache
def document() -> bytes:
    """The page, without anything in it that changes while the process lives."""
    return _rendered(
        "page.html",
        views=VIEWS,
        close_codes=CLOSE_CODES,
        close_meanings=meanings(),
        normal_codes=NORMAL,
        event_kinds=get_args(EventKind),
        generations=list(get_args(GenerationName)),
        log_levels=get_args(LogLevel),
        roles=get_args(Role),
        states=list(get_args(SessionState)),
    )


@cache
def api_document() -> bytes:
    """The description of the API, which its script makes of ``/openapi.json``.

    An own one: those of others need styles and scripts inside the document, which ``HEADERS`` shut out, and would run
    with the rights of an admin.
    """
    return _rendered("docs.html")


def _rendered(template: str, **values: object) -> bytes:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - slow to import, and seldom needed

    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=version("icws"), **values).encode()


@cache
def static_files() -> dict[str, bytes]:
    """What the document needs, by path below ``/static/``; read once."""
    return dict(_walk(files(__package__).joinpath("static"), ""))


def _walk(folder: Traversable, above: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{above}{entry.name}/")
        elif any(entry.name.endswith(suffix) for suffix in MEDIA_TYPES):
            yield above + entry.name, entry.read_bytes()
