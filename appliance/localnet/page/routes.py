"""The page at ``/_/``: what canisters there are, what they log, and their methods to be called with Candid text.

The page uses JSON endpoints below ``/_/api/``, which call canisters anonymously or as the developer. So they answer
requests of the page itself only, under a name of this machine: any web page could send requests here, and by DNS
rebinding also read the answers.
"""

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from appliance.crypto import CandidInterface, decode_candid_text, encode_candid_text
from appliance.errors import CandidError, GatewayError, Malformed
from appliance.ic.identity import AnonymousIdentity, KeyIdentity
from appliance.ic.principal import Principal
from appliance.localnet.canisters.candid_interface import METADATA, interface_of
from appliance.localnet.canisters.record import CanisterRecord
from appliance.localnet.page.local_agent import LocalAgent
from appliance.localnet.replica.replica import Replica
from appliance.localnet.state.outcome import Outcome, Reply

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
FILES = {
    "": ("index.html", "text/html"),
    "page.css": ("page.css", "text/css"),
    "page.js": ("page.js", "text/javascript"),
}
CHAT_PATH = "/chat/"
CHAT_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
METADATA_SHOWN = 4096
LINES_AT_ONCE = 200
FORWARD_LIMIT_S = 10 * 365 * 86_400


class PageError(Exception):
    """The request fails with this HTTP status and text, which the page shows."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Page:
    """Adds its routes to the application of the local network. ``gateway_url``, ``gateway_principal`` and
    ``control_url`` are shown, where there is a gateway.

    ``chat_folder`` has the files of the chat page, which is served at ``CHAT_PATH``; None without one.
    """

    def __init__(
        self, replica: Replica, developer: KeyIdentity, fast_forward: Callable[[float], Awaitable[None]]
    ) -> None:
        self.gateway_url = ""
        self.gateway_principal = ""
        self.control_url = ""
        self.chat_folder: Path | None = None
        self._replica = replica
        self._developer = developer
        self._fast_forward = fast_forward
        self._agent = LocalAgent(replica)

    def add_to(self, application: web.Application) -> None:
        """Add the page and its endpoints."""
        add = application.router
        add.add_get("/_", _to_page)
        add.add_get("/_/{file:[a-z.]*}", _file)
        add.add_get(f"{CHAT_PATH}{{file:[a-z]*[.]?[a-z]*}}", self._chat_file)
        add.add_get("/_/api/net", _endpoint(self._net))
        add.add_get("/_/api/canisters/{id}", _endpoint(self._canister))
        add.add_get("/_/api/canisters/{id}/log", _endpoint(self._log))
        add.add_post("/_/api/call", _endpoint(self._call))
        add.add_post("/_/api/fast-forward", _endpoint(self._forward))

    async def _net(self, _: web.Request) -> object:
        authority = self._replica.authority
        return {
            "root_key": authority.root_key.hex(),
            "subnet_id": str(authority.subnet_id),
            "time_ms": self._replica.clock.now_ns() // 10**6,
            "ahead_s": self._replica.clock.ahead_ns / 1e9,
            "gateway_url": self.gateway_url,
            "gateway_principal": self.gateway_principal,
            "control_url": self.control_url,
            "developer": str(self._developer.principal),
            "canisters": [_summary(record) for record in self._replica.canisters],
        }

    async def _canister(self, http: web.Request) -> object:
        record = self._slot(http.match_info["id"])
        found = interface_of(record.canister, record.beside)
        return {
            **_summary(record),
            "controllers": [str(controller) for controller in sorted(record.controllers)],
            "metadata": _metadata(record),
            "variables": record.variables,
            "candid": found.text,
            "candid_source": found.source,
            "methods": _methods(found.text),
        }

    async def _log(self, http: web.Request) -> object:
        record, after = self._slot(http.match_info["id"]), http.query.get("after", "0")
        if re.fullmatch(r"[0-9]{1,18}", after) is None:
            raise PageError(400, "after is the number of a line")
        lines = [line for line in record.log if line.number >= int(after)][-LINES_AT_ONCE:]
        return {"next": record.log_number, "lines": [[line.number, line.time_ns // 10**6, line.text] for line in lines]}

    async def _call(self, http: web.Request) -> object:
        wanted = await _json(http, {"canister": str, "method": str, "arg": str, "identity": str})
        record, method = self._slot(wanted["canister"]), wanted["method"]
        declared = _interface(interface_of(record.canister, record.beside).text).methods.get(method)
        try:
            arg = (
                encode_candid_text(wanted["arg"]) if declared is None else declared.arguments.encode_text(wanted["arg"])
            )
            identity = self._developer if wanted["identity"] == "developer" else AnonymousIdentity()
            if declared is not None and declared.is_query:
                outcome = self._agent.query(identity, record.canister_id, method, arg)
            else:
                outcome = await self._agent.call(identity, record.canister_id, method, arg)
        except GatewayError as error:
            raise PageError(400, error.problem if isinstance(error, CandidError) else str(error)) from error
        return _outcome_json(outcome, declared.results.decode_text if declared is not None else decode_candid_text)

    async def _forward(self, http: web.Request) -> object:
        seconds = (await _json(http, {"seconds": (int, float)}))["seconds"]
        if not 0 <= seconds <= FORWARD_LIMIT_S:
            raise PageError(400, f"seconds must be from 0 to {FORWARD_LIMIT_S}")
        await self._fast_forward(seconds)
        return {"time_ms": self._replica.clock.now_ns() // 10**6}

    async def _chat_file(self, http: web.Request) -> web.Response:
        """A file of the chat page. Unlike the page at ``/_/`` it connects to the gateway."""
        file = None if self.chat_folder is None else self.chat_folder / (http.match_info["file"] or "index.html")
        if file is None or file.suffix not in CHAT_TYPES or not file.is_file():
            return web.Response(status=404, text="Not Found", headers=HEADERS)
        policy = HEADERS["Content-Security-Policy"].replace(
            "connect-src 'self'", f"connect-src 'self' {self.gateway_url}"
        )
        return web.Response(
            text=await asyncio.to_thread(file.read_text, encoding="utf-8"),
            content_type=CHAT_TYPES[file.suffix],
            charset="utf-8",
            headers={**HEADERS, "Content-Security-Policy": policy},
        )

    def _slot(self, text: str) -> CanisterRecord:
        try:
            record = self._replica.canisters.get(Principal.from_text(text))
        except Malformed as error:
            raise PageError(400, str(error)) from error
        if record is None:
            raise PageError(404, f"there is no canister {text}")
        return record


def _summary(record: CanisterRecord) -> dict[str, object]:
    code = record.canister
    return {
        "id": str(record.canister_id),
        "name": record.name,
        "status": record.status,
        "kind": "empty" if code is None else "Python" if record.actor is None else "Wasm",
        "module_hash": "" if code is None else code.module_hash.hex(),
        "memory": sum(record.actor.memory_sizes) if record.actor is not None else 0,
        "cycles": str(record.cycles),
        "log_number": record.log_number,
    }


def _metadata(record: CanisterRecord) -> dict[str, str]:
    """The public metadata besides the interface, truncated."""
    found = {} if record.canister is None else record.canister.metadata
    return {
        name: content[:METADATA_SHOWN].decode(errors="replace")
        for name, content in sorted(found.items())
        if name != METADATA
    }


@lru_cache(maxsize=64)
def _interface(did: str) -> CandidInterface:
    try:
        return CandidInterface(did)
    except GatewayError:  # methods can be called without an interface
        return CandidInterface("")


def _methods(did: str) -> list[dict[str, object]]:
    return [
        {
            "name": method.name,
            "is_query": method.is_query,
            "arguments": method.arguments.to_text(),
            "results": method.results.to_text(),
            "sample": method.arguments.sample(),
        }
        for method in _interface(did).methods.values()
    ]


def _outcome_json(outcome: Outcome, decode: Callable[[bytes], str]) -> dict[str, object]:
    if not isinstance(outcome, Reply):
        return {"reject": outcome.to_cbor()}
    try:
        return {"reply": decode(outcome.arg)}
    except GatewayError as error:
        return {"reply": f"0x{outcome.arg.hex()}", "note": f"this is not what the interface says: {error}"}


# --- HTTP ---


def _endpoint(handle: Callable[[web.Request], Awaitable[object]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(http: web.Request) -> web.Response:
        try:
            _check_origin(http)
            return web.json_response(await handle(http), headers=HEADERS)
        except PageError as problem:
            return web.json_response({"problem": str(problem)}, status=problem.status, headers=HEADERS)

    return answer


def _check_origin(http: web.Request) -> None:
    """Raises PageError for requests of other web pages, and for host names that are not of this machine."""
    if not _is_this_machine(http.host):
        raise PageError(403, "use the address of this machine or localhost, not another host name")
    origin, site = http.headers.get("Origin"), http.headers.get("Sec-Fetch-Site", "same-origin")
    if (origin is not None and origin != f"http://{http.host}") or site not in ("same-origin", "none"):
        raise PageError(403, "only the page of this local network may send requests")
    if http.method == "POST" and http.content_type != "application/json":
        raise PageError(415, "send application/json")


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


async def _json(http: web.Request, kinds: dict[str, Any]) -> dict[str, Any]:
    """The body, an object with these fields. Raises PageError."""
    try:
        body = await http.json()
    except ValueError:
        raise PageError(400, "the body is not JSON") from None
    if not isinstance(body, dict) or not all(isinstance(body.get(name), kind) for name, kind in kinds.items()):
        raise PageError(400, f"the body is an object with the fields {', '.join(kinds)}")
    for name, kind in kinds.items():
        if kind is str and not _is_unicode(body[name]):
            raise PageError(400, f"{name} has half of a surrogate pair, which is no character")
    return body


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _to_page(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/_/"})


async def _file(http: web.Request) -> web.Response:
    found = FILES.get(http.match_info["file"])
    if found is None:
        return web.Response(status=404, text="Not Found", headers=HEADERS)
    name, kind = found
    text = resources.files("appliance.localnet.page").joinpath("static", name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type=kind, charset="utf-8", headers=HEADERS)
