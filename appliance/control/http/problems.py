"""Errors of the API, as exceptions that become problem details (RFC 9457).

A class is a kind of problem: its status, its title, and the last part of its ``type``, which is stable over versions.
An instance has the sentence about one case.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from appliance import errors
from appliance.control.http.encoding import PROBLEM_TYPE, to_json
from appliance.control.models import Fault, ProblemDetails, problem_of

TYPE = "urn:icws:problem:"


class Problem(Exception):
    """The request failed."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "internal"
    title: ClassVar[str] = "The gateway failed"

    def __init__(
        self, detail: str, *, errors: Sequence[Fault] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """``detail`` is a sentence about the case, ``errors`` its parts, ``headers`` are added to the response."""
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def details(self, instance: str | None = None) -> ProblemDetails:
        """The problem details to send."""
        return ProblemDetails(
            type=TYPE + self.kind,
            title=self.title,
            status=self.status,
            detail=self.detail,
            instance=instance,
            errors=None if self.errors is None else list(self.errors),
        )


class Unauthorized(Problem):
    """The request has no token, or one that is not known."""

    status = 401
    kind = "unauthorized"
    title = "A token is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="icws"'})


class RoleTooSmall(Problem):
    """The role of the sender does not allow this."""

    status = 403
    kind = "role-too-small"
    title = "The role of the sender does not allow this"


class CrossOrigin(Problem):
    """A page of another site sent this request through a browser."""

    status = 403
    kind = "cross-origin"
    title = "Requests from other sites are refused"


class NotFound(Problem):
    """The path or the named thing does not exist."""

    status = 404
    kind = "not-found"
    title = "Not found"


class MethodNotAllowed(Problem):
    """The path does not support this method."""

    status = 405
    kind = "method-not-allowed"
    title = "Method not allowed"


class TooSlow(Problem):
    """The request body took too long to arrive."""

    status = 408
    kind = "too-slow"
    title = "The request body timed out"


class Unavailable(Problem):
    """A worker that has to answer does not, or is not ready yet."""

    status = 503
    kind = "unavailable"
    title = "Not all workers are there"


class Conflict(Problem):
    """The state of the gateway does not allow this now."""

    status = 409
    kind = "conflict"
    title = "Not possible in the current state"


class RestartNeeded(Conflict):
    """A change takes effect only after a restart."""

    kind = "restart-needed"
    title = "Some of the changes need a restart"


class ForceNeeded(Conflict):
    """A change would close or overwrite more than is likely intended."""

    kind = "force-needed"
    title = "This would do more than is likely intended"


class CannotFollow(Conflict):
    """A part of the gateway cannot apply the configuration. Nothing has changed."""

    kind = "cannot-follow"
    title = "The gateway cannot apply this configuration"


class EtagMismatch(Problem):
    """The configuration was changed since the etag was read."""

    status = 412
    kind = "etag-mismatch"
    title = "The configuration has changed meanwhile"


class BodyTooLarge(Problem):
    """The request body is larger than the limit."""

    status = 413
    kind = "body-too-large"
    title = "The body is too large"


class NotJson(Problem):
    """The request body is not JSON."""

    status = 415
    kind = "not-json"
    title = "The body must be JSON"


class WrongHost(Problem):
    """The Host header names another host than this gateway."""

    status = 421
    kind = "wrong-host"
    title = "The Host header does not name this gateway"


class Invalid(Problem):
    """The request is malformed."""

    status = 422
    kind = "invalid"
    title = "The request is not valid"


class ConfigInvalid(Invalid):
    """The configuration is not valid."""

    kind = "config-invalid"
    title = "The configuration is not valid"


class TooManyRequests(Problem):
    """The address has sent too many requests without a valid token (``rate_limits.control_requests_per_ip``)."""

    status = 429
    kind = "too-many-requests"
    title = "Too many requests without a valid token"


class TooManyListeners(Problem):
    """The limit of event subscribers is reached."""

    status = 503
    kind = "too-many-listeners"
    title = "Too many event subscribers"


class ClusterAway(Problem):
    """The engine of the cluster does not answer, so that other nodes cannot be asked."""

    status = 503
    kind = "cluster-away"
    title = "Other nodes cannot be reached"


class NodeFailed(Problem):
    """Another node does not answer, or did nothing."""

    status = 504
    kind = "node-failed"
    title = "Another node does not answer, or did nothing"


@contextmanager
def refusals() -> Iterator[None]:
    """Turn the errors of a reload into problems."""
    try:
        yield
    except (errors.GatewayError, OSError) as error:
        raise refusal_of(error) from error


def refusal_of(error: Exception) -> Problem:
    """The problem for an error of a reload."""
    kinds: tuple[tuple[type[Exception], type[Problem]], ...] = (
        (errors.RestartNeeded, RestartNeeded),
        (errors.ForceNeeded, ForceNeeded),
        (errors.ConfigError, ConfigInvalid),
        (errors.EtagMismatch, EtagMismatch),
        (errors.RevisionUnknown, NotFound),
        (errors.ReloadError, Conflict),
    )
    kind = next((kind for cause, kind in kinds if isinstance(error, cause)), CannotFollow)
    return kind(str(error), errors=faults_of(error) if isinstance(error, errors.ConfigError) else None)


def faults_of(error: errors.ConfigError) -> list[Fault]:
    """Each of its problems."""
    return [Fault(place=fault.place, key=fault.key, problem=fault.problem) for fault in error.problems]


def answer(problem: Problem, instance: str) -> Response:
    """The HTTP response of a problem."""
    return Response(
        to_json(problem.details(instance).model_dump(exclude_none=True)),
        status_code=problem.status,
        headers=problem.headers,
        media_type=PROBLEM_TYPE,
    )


# --- handlers of the application ------------------------------------------------------------------------------------


async def on_problem(request: Request, problem: Exception) -> Response:
    """For a Problem, and for any other exception: its details could be secret and are in the log only."""
    known = problem if isinstance(problem, Problem) else Problem("internal error; see the log of the gateway")
    return answer(known, request.url.path)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """For errors of the framework, such as an unknown path. For a wrong method see ``app``."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict((error.headers if isinstance(error, HTTPException) else None) or {})
    if status == 404:
        return answer(NotFound(f"there is no {request.url.path}", headers=headers), request.url.path)
    return answer(Invalid("the request cannot be read", headers=headers), request.url.path)


async def on_invalid(request: Request, error: Exception) -> Response:
    """For a request that does not match the models."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    faults = [_fault(each["type"], each["loc"], problem_of(each)) for each in found]
    first = faults[0] if faults else Fault(place="body", key="", problem="cannot be read")
    detail = f"{first.key or first.place}: {first.problem}" + (f" (and {len(faults) - 1} more)" if faults[1:] else "")
    return answer(Invalid(detail, errors=faults), request.url.path)


def _fault(kind: str, where: Sequence[int | str], problem: str) -> Fault:
    place, *path = where
    if kind == "json_invalid":
        return Fault(place="body", key="", problem=f"is not JSON, character {path[0] if path else 0}")
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    return Fault(place=str(place), key=key, problem=problem)
