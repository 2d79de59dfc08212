"""A client of the API for programs without an event loop, over its Unix socket or over TCP with a token.

It needs nothing of the server but the models, and nothing that takes long to import: the command line is one.
"""

import http.client
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import orjson
from pydantic import BaseModel, ValidationError

from appliance.control.models import Event, Fault, Health, ProblemDetails, Request
from appliance.errors import ConfigError, ConfigProblem, GatewayError

UNIX = "unix:"
TIMEOUT_S = 60.0
"""For an answer to begin or go on; applying a configuration may have to wait for the IC."""
SILENCE_S = 45.0
"""How long a stream of events may be silent: there is a sign of life every 15 s."""
MAX_ANSWER = 64 * 1024**2
CONFIG_INVALID = "config-invalid"

_SHOWN = 200  # characters of an answer that is none of ours
_PARTS = ("body", "query", "path", "header")  # of requests, as places of faults
_PROBLEM_TYPE = "application/problem+json"

T = TypeVar("T", bound=BaseModel)
Query = Mapping[str, str | int | float | bool | list[str] | None]


class ControlError(GatewayError, reason="control"):
    """A request to the control plane of a gateway failed. ``place`` is the address of the control plane."""

    place: str
    sentence = "the gateway at {place} gave no usable answer"


class ControlUnreachable(ControlError, reason="control_unreachable"):
    """Nobody answers there, or no gateway."""

    problem: str
    sentence = "no gateway answers at {place}: {problem}"


class ControlRefused(ControlError, reason="control_refused"):
    """The gateway answered with problem details."""

    details: ProblemDetails

    def __str__(self) -> str:
        detail, faults = self.details.detail, self.details.errors or []
        is_told = any(fault.problem in detail for fault in faults)  # the detail sums up the first of them then
        return "\n".join(([] if is_told else [detail]) + [fault_text(fault) for fault in faults])

    @property
    def kind(self) -> str:
        """The last part of the problem's type, e.g. ``restart-needed``."""
        return kind_of(self.details)


class ConfigRefused(ConfigError):
    """The gateway cannot use a configuration."""

    details: ProblemDetails = field(kw_only=True)


def kind_of(details: ProblemDetails) -> str:
    """The last part of a problem's type."""
    return details.type.rpartition(":")[2]


def fault_text(fault: Fault) -> str:
    """As a ConfigProblem is written; that something was in the body of the request is of no interest."""
    if fault.key and fault.place in _PARTS:
        return f"{fault.key}: {fault.problem}"
    return str(ConfigProblem(fault.place, fault.key, fault.problem))


def error_of(details: ProblemDetails, place: str) -> ConfigRefused | ControlRefused:
    """The exception that stands for a problem of the API."""
    if kind_of(details) != CONFIG_INVALID:
        return ControlRefused(place, details)
    faults = details.errors or [Fault(place=place, key="", problem=details.detail)]
    return ConfigRefused([ConfigProblem(fault.place, fault.key, fault.problem) for fault in faults], details=details)


class Client:
    """Asks one gateway. ``url`` is ``unix:/path`` or ``http://host:port``, the latter with a token."""

    def __init__(self, url: str, token: str | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self._token = token
        self._timeout_s = timeout_s

    def get(self, model: type[T], path: str, **query: str | float | list[str] | None) -> T:
        """What is at a path. Raises ControlUnreachable, ControlRefused or ConfigRefused."""
        return self.ask(model, "GET", path, query=query)

    def post(self, model: type[T], path: str, body: Request | None = None, *, if_match: str | None = None) -> T:
        """Change something. Raises as `get`."""
        return self.ask(model, "POST", path, body=body, if_match=if_match)

    def ask(
        self,
        model: type[T],
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Request | None = None,
        if_match: str | None = None,
    ) -> T:
        """One request. What is None in the body or the query is left out. Raises as `get`."""
        headers = {} if if_match is None else {"If-Match": if_match}
        content = None if body is None else orjson.dumps(body.model_dump(mode="json", exclude_none=True))
        with self._answer(method, _with(path, query), content, headers) as response:
            return self._read(model, response)

    def health(self, path: str, *, node: str | None = None) -> Health:
        """What ``/livez``, ``/readyz`` or ``/startupz`` says, with every check; or what another node of the cluster
        says. Raises as `get`.
        """
        with self._answer("GET", _with(path, {"verbose": "true", "node": node}), None, {}, also=(503,)) as response:
            if response.status == 503 and response.headers.get_content_type() == _PROBLEM_TYPE:
                raise self._problem(response)
            return self._read(Health, response)

    def text(self, path: str) -> str:
        """What is at a path, as text. Raises as `get`."""
        with self._answer("GET", path, None, {}) as response:
            return self._whole(response).decode("utf-8", "replace")

    def events(self, kinds: list[str] | None = None, after: int | None = None) -> Iterator[Event]:
        """What happens, until the gateway ends the stream; ``after`` an event begins with those that came since.

        Raises as `get`.
        """
        headers = {"Accept": "text/event-stream"} | ({} if after is None else {"Last-Event-ID": str(after)})
        path = _with("/v1/events", {"kinds": kinds})
        with self._answer("GET", path, None, headers, timeout_s=SILENCE_S) as response:
            for line in response:
                name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(": ")
                if name == "data":
                    yield self._model(Event, value.encode())

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: dict[str, str],
        *,
        timeout_s: float | None = None,
        also: tuple[int, ...] = (),
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer with a status of 2xx, or one of these ``also``, to be read within the block."""
        connection, prefix = _connection(self.url, timeout_s or self._timeout_s)
        headers |= {"Accept-Encoding": "identity", "User-Agent": "icws"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, prefix + path, content, headers)
            with connection.getresponse() as response:
                if not (200 <= response.status < 300 or response.status in also):
                    raise self._problem(response)
                yield response
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ControlUnreachable(self.url, _why(error)) from error
        finally:
            connection.close()

    def _read(self, model: type[T], response: http.client.HTTPResponse) -> T:
        return self._model(model, self._whole(response))

    def _whole(self, response: http.client.HTTPResponse) -> bytes:
        data = response.read(MAX_ANSWER + 1)
        if len(data) > MAX_ANSWER:
            raise ControlUnreachable(self.url, f"its answer has more than {MAX_ANSWER} bytes")
        if response.length:
            raise http.client.IncompleteRead(data, response.length)
        return data

    def _problem(self, response: http.client.HTTPResponse) -> GatewayError:
        data = self._whole(response)
        if response.headers.get_content_type() == _PROBLEM_TYPE:
            return error_of(self._model(ProblemDetails, data), self.url)
        text = " ".join(data[: 4 * _SHOWN].decode("utf-8", "replace").split())[:_SHOWN]
        return ControlUnreachable(self.url, f"HTTP {response.status} from something that is no gateway: {text}")

    def _model(self, model: type[T], data: bytes) -> T:
        try:
            return model.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            what = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
            problem = f"its answer is not a {model.__name__} ({what}); is it of another version?"
            raise ControlUnreachable(self.url, problem) from error


def path_to(*parts: str | int) -> str:
    """A path of the API, each part as it is: ``path_to("canisters", "a/b")``."""
    return "/v1/" + "/".join(quote(str(part), safe="") for part in parts)


def to_json(answer: BaseModel) -> Any:
    """An answer as plain values."""
    return answer.model_dump(mode="json")


class _UnixConnection(http.client.HTTPConnection):
    """HTTP through a socket in the file system."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(url: str, timeout_s: float) -> tuple[http.client.HTTPConnection, str]:
    """A connection that opens with its first request, and what paths begin with there. Raises ControlUnreachable."""
    if url.startswith(UNIX):
        return _UnixConnection(url.removeprefix(UNIX), timeout_s), ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ControlUnreachable(url, str(error)) from None
    if parts.scheme not in ("http", "https") or not host:
        raise ControlUnreachable(url, "write unix:/path or http://host:port")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(host, port, timeout=timeout_s), parts.path.rstrip("/")


def _with(path: str, query: Query | None) -> str:
    given = [(name, value) for name, value in (query or {}).items() if value is not None]
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


_WHY: tuple[tuple[type[Exception], str], ...] = (
    (FileNotFoundError, "there is no such socket; does the gateway run, and with this control.listen?"),
    (ConnectionRefusedError, "nobody listens there; does the gateway run?"),
    (PermissionError, "you may not open the socket; it is for its owner and group"),
    (TimeoutError, "no answer in time"),
    (http.client.RemoteDisconnected, "the connection was closed without an answer"),
    (http.client.IncompleteRead, "the connection was closed within the answer"),
)


def _why(error: Exception) -> str:
    said = next((sentence for kind, sentence in _WHY if isinstance(error, kind)), None)
    return said or getattr(error, "strerror", None) or str(error) or type(error).__name__
