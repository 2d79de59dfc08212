"""Operations that other nodes of the cluster do: sent to one of them, or to all, and put together."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import orjson
from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from appliance.control.auth.access import Actor
from appliance.control.control import Control
from appliance.control.health.cluster import SILENT_MS, ClusterNode, NodeRecord
from appliance.control.http.encoding import PROBLEM_TYPE, to_json
from appliance.control.http.problems import TYPE, ClusterAway, Invalid, NodeFailed
from appliance.control.models import NAME, Fault, MissingNode, ProblemDetails, Role
from appliance.errors import EngineAway, NodeRefused, NodeSilent

Reach = Literal["one", "all"]
"""Which other nodes an operation can be asked of: a named one, or all as well."""

T = TypeVar("T", bound=BaseModel)

EVERY = "*"
"""Names all nodes."""
CONFIG_TIMEOUT_S = 45.0
"""For a change of the configuration at another node, which may have to wait for the IC."""
_STATUS_DIGITS = 3

_ONE = "The node of the cluster that does this; without, the one that is asked."
OfNode = Annotated[
    str | None,
    Query(
        pattern=rf"{NAME}|^\*$",
        description="The node of the cluster that is meant, `*` for all; without, the one that is asked.",
    ),
]
PARAMETER: Mapping[str, Any] = {
    "name": "node",
    "in": "query",
    "required": False,
    "schema": {"type": "string", "pattern": NAME},
    "description": _ONE,
}
"""The parameter ``node`` of operations of one node, for OpenAPI."""


class NodeRequest(BaseModel):
    """An operation that one node asks of another, for somebody who is known to the first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    actor: Annotated[str, Field(max_length=200)]
    role: Role
    path: Annotated[str, Field(max_length=2000)]
    query: list[tuple[str, str]] = Field(default_factory=list)
    body: Any = None
    if_match: str | None = None


class Asked(NamedTuple):
    """An operation, by its ``name`` in the API. ``query`` has no ``node``."""

    name: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: Any = None
    if_match: str | None = None


class Answered(NamedTuple):
    """What a node said."""

    node: str
    status: int
    content: bytes

    @classmethod
    def of(cls, node: str, answer: bytes) -> "Answered":
        """From the bytes that `encoded` makes. Raises ValueError."""
        return cls(node, int(answer[:_STATUS_DIGITS]), answer[_STATUS_DIGITS:])

    @property
    def is_good(self) -> bool:
        """Whether it did what it was asked for."""
        return self.status < 300

    @property
    def is_invalid(self) -> bool:
        """Whether it could not read what it was asked for, and so attempted nothing."""
        return self.status == Invalid.status and f'{TYPE}{Invalid.kind}"'.encode() in self.content

    @property
    def problem(self) -> str:
        """Why it did not."""
        try:
            return ProblemDetails.model_validate_json(self.content).detail
        except ValidationError:
            return f"it answers with status {self.status}"

    def read(self, model: type[T]) -> T:
        """What it said. Raises NodeFailed."""
        if not self.is_good:
            raise NodeFailed(self.problem)
        try:
            return model.model_validate_json(self.content)
        except ValidationError:
            raise NodeFailed("its answer cannot be read; is it of another version?") from None

    def response(self) -> Response:
        """The same, as the response of this node."""
        kind = "application/json" if self.is_good or self.status == 503 else PROBLEM_TYPE
        return Response(self.content, self.status, media_type=kind)


def encoded(status: int, content: bytes) -> bytes:
    """An answer between nodes."""
    return f"{status:0{_STATUS_DIGITS}d}".encode() + content


def named(control: Control, given: Sequence[str], reach: Reach) -> str | None:
    """The other node that ``node`` in a query names; None for this one, and for all. Raises Invalid."""
    if not given:
        return None
    name = given[-1]
    if name == EVERY and reach == "one":
        raise _no_node("name one node: this is done by one after the other")
    return None if name in (EVERY, control.node and control.node.name) else name


async def at(control: Control, actor: Actor, name: str, asked: Asked, timeout_s: float | None = None) -> Answered:
    """Have another node do something. Raises Invalid, ClusterAway or NodeFailed."""
    node = control.node
    if node is None:
        raise _no_node(f"there is no node {name[:63]}: this gateway is alone")
    try:
        records = await node.nodes()
    except EngineAway as error:
        raise ClusterAway(str(error)) from error
    record = next((each for each in records if each.name == name), None)
    if record is None:
        raise _no_node(f"cluster {node.cluster} has no node {name[:63]}")
    try:
        return await _ask(node, record, actor, asked, timeout_s)
    except (NodeSilent, NodeRefused) as error:
        unknown = "; nobody knows whether it did what it was asked for" if isinstance(error, NodeSilent) else ""
        raise NodeFailed(f"{error}{unknown}") from error


async def at_others(control: Control, actor: Actor, asked: Asked) -> tuple[list[Answered], list[MissingNode]]:
    """Have all other nodes do something. Returns what they said, and which of them said nothing."""
    node = control.node
    if node is None:
        return [], []
    try:
        records = await node.nodes()
    except EngineAway as error:
        return [], [MissingNode(node=None, problem=str(error))]
    room = asyncio.Semaphore(max(1, node.settings.requests // 2))

    async def one(record: NodeRecord) -> Answered | MissingNode:
        try:
            async with room:
                return await _ask(node, record, actor, asked, None)
        except (NodeSilent, NodeRefused) as error:
            return MissingNode(node=record.name, problem=error.problem)

    found = await asyncio.gather(*(one(record) for record in records if record.incarnation != node.incarnation))
    return (
        [each for each in found if isinstance(each, Answered)],
        [each for each in found if isinstance(each, MissingNode)],
    )


async def _ask(node: ClusterNode, record: NodeRecord, actor: Actor, asked: Asked, timeout_s: float | None) -> Answered:
    """Raises NodeSilent and NodeRefused."""
    if record.silent_ms > SILENT_MS:
        raise NodeSilent(record.name, f"it has had no heartbeat for {record.silent_ms // 1000} s")
    request = NodeRequest(
        actor=actor.name,
        role=actor.role,
        path=asked.path,
        query=list(asked.query),
        body=asked.body,
        if_match=asked.if_match,
    )
    within_s = node.settings.request_timeout if timeout_s is None else timeout_s
    body = to_json(request.model_dump(exclude_none=True))
    answer = await node.requests.ask(record.name, record.incarnation, asked.name, body, within_s)
    try:
        return Answered.of(record.name, answer)
    except ValueError:
        raise NodeRefused(record.name, "its answer cannot be read; is it of another version?") from None


def _no_node(problem: str) -> Invalid:
    return Invalid(f"node: {problem}", errors=[Fault(place="query", key="node", problem=problem)])


def path_to(*parts: str) -> str:
    """A path of the API, decoded as applications get it."""
    return "/v1/" + "/".join(parts)


def pairs_of(query: Mapping[str, object]) -> list[tuple[str, str]]:
    """A query as the pairs that it is written with."""
    return [(key, str(value)) for key, value in query.items()]


def query_of(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """A query without ``node``."""
    return [(key, value) for key, value in pairs if key != "node"]


def json_of(content: bytes) -> Any:
    """The JSON of a body, None for an empty one. Raises Invalid."""
    try:
        return orjson.loads(content) if content else None
    except orjson.JSONDecodeError:
        raise Invalid("the body is not JSON") from None
