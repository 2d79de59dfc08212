import json
from typing import Any

import pytest

from appliance import errors
from appliance.control.http import problems
from appliance.control.http.problems import Problem, answer, refusal_of, refusals
from appliance.errors import ConfigProblem


def kinds() -> list[type[Problem]]:
    return [each for each in vars(problems).values() if isinstance(each, type) and issubclass(each, Problem)]


def test_every_kind_has_a_type_of_its_own() -> None:
    names = [kind.kind for kind in kinds()]
    assert len(names) == len(set(names))
    assert all(400 <= kind.status <= 599 for kind in kinds())


@pytest.mark.parametrize("kind", kinds())
def test_a_problem_is_told_as_rfc_9457_has_it(kind: type[Problem]) -> None:
    response = answer(kind("a sentence"), "/v1/status")
    told = json.loads(bytes(response.body))
    assert response.status_code == told["status"] == kind.status
    assert response.media_type == "application/problem+json"
    assert told["type"] == f"urn:icws:problem:{kind.kind}"
    assert (told["title"], told["detail"], told["instance"]) == (kind.title, "a sentence", "/v1/status")
    assert "errors" not in told


FAULT = ConfigProblem("gateway.yaml:3:5", "polling.timeout", "must be at least 100ms")


@pytest.mark.parametrize(
    ("error", "kind", "faults"),
    [
        (errors.ConfigError([FAULT]), "config-invalid", 1),
        (errors.RestartNeeded([FAULT, FAULT]), "restart-needed", 2),
        (errors.ForceNeeded([FAULT]), "force-needed", 1),
        (errors.EtagMismatch("a", "b"), "etag-mismatch", 0),
        (errors.RevisionUnknown(7), "not-found", 0),
        (errors.ConfirmationPending(7), "conflict", 0),
        (errors.NothingToConfirm(), "conflict", 0),
        (errors.ReloadTooLate(), "conflict", 0),
        (errors.NothingToRollBackTo(), "conflict", 0),
        (errors.IcUnreachable("https://icp-api.io", "timed out"), "cannot-follow", 0),
        (OSError(98, "Address already in use"), "cannot-follow", 0),
    ],
)
def test_what_refuses_a_configuration_is_a_problem(error: Any, kind: str, faults: int) -> None:
    problem = refusal_of(error)
    assert (problem.kind, problem.detail) == (kind, str(error))
    assert len(problem.errors or ()) == faults
    with pytest.raises(type(problem)), refusals():
        raise error


def test_what_is_no_refusal_goes_on() -> None:
    with pytest.raises(ZeroDivisionError), refusals():
        raise ZeroDivisionError
