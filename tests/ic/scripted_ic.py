"""An endpoint of the IC on loopback that answers as a test tells it, with certificates signed by a real BLS key."""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import TestServer

from appliance.crypto import BlsSecretKey, HashTree, Request, Verifier, encode_cbor, encode_certificate

NOW_NS = 1_700_000_000 * 10**9
ROOT = BlsSecretKey.from_seed(b"the root key of the scripted network")
STRANGER = BlsSecretKey.from_seed(b"a key that nobody in there has heard of")

Answer = Callable[[Request | None], web.StreamResponse | Awaitable[web.StreamResponse]]
"""Makes the response to a request; the request is None where the body is no envelope."""


class TestTime:
    """A clock that only moves when somebody sleeps, or a test moves it."""

    __test__ = False

    def __init__(self) -> None:
        self.now_ns = NOW_NS
        self.slept: list[float] = []

    def clock(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_ns += int(seconds * 1e9)


@dataclass
class Seen:
    """A request as it came."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]

    @property
    def version(self) -> str:
        return self.path.split("/")[2]

    @property
    def kind(self) -> str:
        return self.path.rsplit("/", 1)[1]


@dataclass
class ScriptedIc:
    """Answers each request with the next of ``answers``; the last one stays. ``serves`` are the paths' versions and
    kinds that exist, e.g. "v4/call"; others are answered 404 and take no answer from the script."""

    time: TestTime
    serves: set[str] = field(default_factory=lambda: {"v2/status", "v4/call", "v2/query", "v3/read_state"})
    answers: deque[Answer] = field(default_factory=deque)
    seen: list[Seen] = field(default_factory=list)
    port: int | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=4 * 1024**2)
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._server = TestServer(app, port=self.port)
        await self._server.start_server()
        self.port = self._server.port
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, *answers: Answer) -> None:
        self.answers = deque(answers)

    @property
    def bodies(self) -> list[bytes]:
        return [seen.body for seen in self.seen]

    @property
    def asked(self) -> list[str]:
        return [f"{seen.version}/{seen.kind}" for seen in self.seen]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        seen = Seen(request.method, request.path, body, {k.lower(): v for k, v in request.headers.items()})
        self.seen.append(seen)
        if f"{seen.version}/{seen.kind}" not in self.serves:
            return web.Response(status=404, text="not found")
        answer = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        response = answer(self._open(body))
        return response if isinstance(response, web.StreamResponse) else await response

    def _open(self, body: bytes) -> Request | None:
        return Verifier(ROOT.public_key).open_request(body, now_ns=self.time.now_ns) if body else None


# --- answers --------------------------------------------------------------------------------------------------------


def cbor(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encode_cbor(value), content_type="application/cbor")


def http(status: int, text: str = "", **headers: str) -> Answer:
    """Any status, with headers as ``retry_after="5"``."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: web.Response(status=status, text=text, headers=names)


def accepted(_: Request | None) -> web.Response:
    return web.Response(status=202)


def leb128(number: int) -> bytes:
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80]) + leb128(number >> 7)


def certificate(labels: dict[bytes, Any], *, time_ns: int, key: BlsSecretKey = ROOT) -> bytes:
    tree = HashTree.from_labels({b"time": leb128(time_ns), **labels})
    return encode_certificate(tree, key.sign_root(tree.digest))


def _status(request_id: bytes, leaves: dict[bytes, bytes]) -> dict[bytes, Any]:
    return {b"request_status": {request_id: leaves}}


def replied(reply: bytes, *, time_ns: int = NOW_NS, key: BlsSecretKey = ROOT) -> Answer:
    """To a call: it was executed and answered."""
    return status(b"replied", time_ns=time_ns, key=key, reply=reply)


def rejected(code: int, message: str, error_code: str | None = None) -> Answer:
    """To a call: certified rejection."""
    error = b"" if error_code is None else error_code.encode()
    return status(b"rejected", reject_code=leb128(code), reject_message=message.encode(), error_code=error)


def status(state: bytes, *, time_ns: int = NOW_NS, key: BlsSecretKey = ROOT, **leaves: bytes) -> Answer:
    """To a call: its status, certified."""
    named = {name.encode(): value for name, value in leaves.items() if value}

    def answer(request: Request | None) -> web.Response:
        assert request is not None
        labels = _status(request.request_id, {b"status": state, **named})
        return cbor({"status": "replied", "certificate": certificate(labels, time_ns=time_ns, key=key)})

    return answer


def state(labels_of: Callable[[list[list[bytes]]], dict[bytes, Any]], *, time_ns: int = NOW_NS) -> Answer:
    """To read_state: the labels made of the paths."""

    def answer(request: Request | None) -> web.Response:
        assert request is not None
        return cbor({"certificate": certificate(labels_of(request.paths), time_ns=time_ns)})

    return answer


def request_state(leaves: dict[bytes, bytes] | None) -> Answer:
    """To read_state of a request status; None: the request is not known."""

    def labels(paths: list[list[bytes]]) -> dict[bytes, Any]:
        return {} if leaves is None else _status(paths[0][1], leaves)

    return state(labels)


def refused(code: int, message: str, error_code: str | None = None) -> Answer:
    """To a call: refused before it was replicated (versions 3 and 4)."""
    fields = {"status": "non_replicated_rejection", "reject_code": code, "reject_message": message}
    fields |= {"error_code": error_code} if error_code else {}
    return lambda _: cbor(fields)


def query_reply(arg: bytes) -> Answer:
    return lambda _: cbor({"status": "replied", "reply": {"arg": arg}, "signatures": []})
