"""What goes wrong with a request, as exceptions that become problem details (RFC 9457).

A class is a kind of problem: its status, its title, and the last part of its ``type``, which stays the same over
versions. An instance has the sentence about the case.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from appliance import errors
from appliance.control.answers import PROBLEM_TYPE, to_json
from appliance.control.models import Fault, ProblemDetails

TYPE = "urn:icws:problem:"


class Problem(Exception):
    """The request is not answered as it was meant."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "internal"
    title: ClassVar[str] = "The gateway failed"

    def __init__(
        self, detail: str, *, errors: Sequence[Fault] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """``detail`` is a sentence about the case, ``errors`` its parts, ``headers`` those of the answer."""
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def details(self, instance: str | None = None) -> ProblemDetails:
        """What is sent."""
        return ProblemDetails(
            type=TYPE + self.kind,
            title=self.title,
            status=self.status,
            detail=self.detail,
            instance=instance,
            errors=None if self.errors is None else list(self.errors),
        )


class Unauthorized(Problem):
    """Nobody we know sent this."""

    status = 401
    kind = "unauthorized"
    title = "A token is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="icws"'})


class RoleTooSmall(Problem):
    """The sender may not do this."""

    status = 403
    kind = "role-too-small"
    title = "The role of the sender does not allow this"


class CrossOrigin(Problem):
    """A page of another site sent this through somebody's browser."""

    status = 403
    kind = "cross-origin"
    title = "Requests of other sites are not answered"


class NotFound(Problem):
    """There is no such thing."""

    status = 404
    kind = "not-found"
    title = "There is no such thing"


class MethodNotAllowed(Problem):
    """The path takes other methods."""

    status = 405
    kind = "method-not-allowed"
    title = "This path does not take this method"


class TooSlow(Problem):
    """The body took too long to come."""

    status = 408
    kind = "too-slow"
    title = "The body did not come in time"


class Conflict(Problem):
    """The state of the gateway does not allow this now."""

    status = 409
    kind = "conflict"
    title = "Not possible as things are"


class RestartNeeded(Conflict):
    """A change takes effect with a restart only."""

    kind = "restart-needed"
    title = "Some of the changes need a restart"


class ForceNeeded(Conflict):
    """A change would end or overwrite more than is likely meant."""

    kind = "force-needed"
    title = "This would do more than is likely meant"


class CannotFollow(Conflict):
    """A part of the gateway cannot do what the configuration says. Nothing was changed."""

    kind = "cannot-follow"
    title = "The gateway cannot follow this configuration"


class EtagMismatch(Problem):
    """Somebody else has changed the configuration meanwhile."""

    status = 412
    kind = "etag-mismatch"
    title = "The configuration has changed meanwhile"


class BodyTooLarge(Problem):
    """The body has more bytes than are taken."""

    status = 413
    kind = "body-too-large"
    title = "The body is too large"


class NotJson(Problem):
    """The body is something else than JSON."""

    status = 415
    kind = "not-json"
    title = "The body must be JSON"


class WrongHost(Problem):
    """The request is for a name that is not this gateway's."""

    status = 421
    kind = "wrong-host"
    title = "This is not the host that was asked for"


class Invalid(Problem):
    """What was sent cannot be understood."""

    status = 422
    kind = "invalid"
    title = "The request is not valid"


class ConfigInvalid(Invalid):
    """The configuration cannot be used."""

    kind = "config-invalid"
    title = "The configuration cannot be used"


class TooManyListeners(Problem):
    """As many as are served wait for events already."""

    status = 503
    kind = "too-many-listeners"
    title = "Too many listen to events"


@contextmanager
def refusals() -> Iterator[None]:
    """What keeps a configuration from being run, as problems."""
    try:
        yield
    except (errors.GatewayError, OSError) as error:
        raise refusal_of(error) from error


def refusal_of(error: Exception) -> Problem:
    """What keeps a configuration from being run, as a problem."""
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
    """Each of its faults."""
    return [Fault(place=fault.place, key=fault.key, problem=fault.problem) for fault in error.problems]


def answer(problem: Problem, instance: str) -> Response:
    """The HTTP answer."""
    return Response(
        to_json(problem.details(instance).model_dump(exclude_none=True)),
        status_code=problem.status,
        headers=problem.headers,
        media_type=PROBLEM_TYPE,
    )


# --- handlers of the application ------------------------------------------------------------------------------------


async def on_problem(request: Request, problem: Exception) -> Response:
    """Of a Problem that was raised; of what nobody thought of, too, without its details."""
    told = problem if isinstance(problem, Problem) else Problem("something went wrong; the log says what")
    return answer(told, request.url.path)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Of what the framework raises: no such path. Of a wrong method, see ``app``."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict((error.headers if isinstance(error, HTTPException) else None) or {})
    if status == 404:
        return answer(NotFound(f"there is no {request.url.path}", headers=headers), request.url.path)
    return answer(Invalid("the request cannot be read", headers=headers), request.url.path)


async def on_invalid(request: Request, error: Exception) -> Response:
    """Of a request that does not fit the models."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    faults = [_fault(each["type"], each["loc"], each["msg"]) for each in found]
    first = faults[0] if faults else Fault(place="body", key="", problem="cannot be read")
    detail = f"{first.key or first.place}: {first.problem}" + (f" (and {len(faults) - 1} more)" if faults[1:] else "")
    return answer(Invalid(detail, errors=faults), request.url.path)


def _fault(kind: str, where: Sequence[int | str], message: str) -> Fault:
    place, *path = where
    if kind == "json_invalid":
        return Fault(place="body", key="", problem=f"is not JSON, character {path[0] if path else 0}")
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
    return Fault(place=str(place), key=key, problem=message[:1].lower() + message[1:])
