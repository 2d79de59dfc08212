"""Changes of the configuration: made by all workers or by none."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode

import orjson
import structlog

from appliance.control.http.problems import Conflict, Invalid, Unavailable
from appliance.control.models import Fault
from appliance.errors import WorkerAway
from appliance.supervisor.control.asking import Answer, Question, ask
from appliance.supervisor.supervisor import HAND_ON, Supervisor
from appliance.supervisor.worker import Worker

_log = structlog.get_logger(__name__)

ROLL_BACK = "/v1/config/rollback"
CONFIRM = "/v1/config/confirm"


class Changes:
    """Makes one change at a time. ``changed`` is called after one that all workers have made."""

    def __init__(self, supervisor: Supervisor, changed: Callable[[], Awaitable[None]]) -> None:
        self._supervisor = supervisor
        self._changed = changed
        self._lock = asyncio.Lock()
        self._confirm_by: datetime | None = None

    @property
    def is_on_trial(self) -> bool:
        """Whether the last change of the configuration has to be confirmed, and can still be: afterwards the workers
        have rolled it back by themselves.
        """
        return self._confirm_by is not None and datetime.now(UTC) < self._confirm_by

    async def make(self, question: Question) -> Answer:
        """Have the first worker make a change, then the others. Where one refuses what another has made, that is rolled
        back. Returns the answer of the first worker, or the refusal. Raises Unavailable, Invalid for a trial that each
        worker would judge by itself, and WorkerAway where the first worker does not answer.

        Once begun it goes on, also where its sender is gone.
        """
        _check(question)
        return await asyncio.shield(asyncio.ensure_future(self._make(question)))

    async def _make(self, question: Question) -> Answer:
        async with self._lock:
            workers = self._supervisor.workers
            if self._supervisor.is_restarting or not all(each.ready.is_set() for each in workers):
                away = [str(each.role.number) for each in workers if not each.ready.is_set()]
                raise Unavailable(f"not all workers are ready ({', '.join(away) or 'they restart'}); try again shortly")
            first = await _ask(workers[0], question)
            if not first.is_good:
                return first
            made = [workers[0]]
            # The revision of the first worker is what the sender has named; it is the file that the others keep to.
            others = replace(question, headers={key: it for key, it in question.headers.items() if key != "if-match"})
            for worker in workers[1:]:
                if (refusal := await self._also(worker, _without_saving(others))) is not None:
                    await self._take_back(made, first)
                    return refusal
                made.append(worker)
            self._confirm_by = _confirm_by(first, self._confirm_by)
            await self._changed()
            return first

    async def _also(self, worker: Worker, question: Question) -> Answer | None:
        """Why a worker does not make the change; None where it does, or is started again."""
        try:
            said = await _ask(worker, question)
        except WorkerAway as error:
            _log.error("a worker did not answer to a change, and is started again", cause=str(error))
            worker.send(signal.SIGKILL)
            return None  # it starts with the configuration that the others have
        if said.status == Conflict.status and question.target.partition("?")[0] == CONFIRM:
            # Its trial ended in the moment before: it has rolled back what the first worker keeps.
            _log.error("a worker has rolled back what is confirmed, and is replaced", worker=worker.role.number)
            worker.send(HAND_ON)
            return None
        return None if said.is_good else said

    async def _take_back(self, made: list[Worker], first: Answer) -> None:
        if _result(first) not in ("applied", "rolled back"):
            return  # it changed no configuration
        for worker in made:
            try:
                said = await _ask(worker, Question("POST", ROLL_BACK))
                if said.is_good:
                    continue
                cause = said.body.decode("utf-8", "replace")[:300]
            except WorkerAway as error:
                cause = str(error)
            _log.error("a worker could not take a change back", worker=worker.role.number, cause=cause)


async def _ask(worker: Worker, question: Question) -> Answer:
    return await ask(worker.role.number, worker.role.control, question)


def _check(question: Question) -> None:
    """Raises Invalid."""
    body = _json(question.body)
    if isinstance(body, dict) and body.get("keep_if_healthy"):
        problem = "cannot be used with several workers, as each would judge by itself: confirm the trial"
        raise Invalid(
            f"keep_if_healthy: {problem}", errors=[Fault(place="body", key="keep_if_healthy", problem=problem)]
        )


def _result(answer: Answer) -> object:
    """What became of the configuration; operations of canisters have it below ``applied``."""
    try:
        said = answer.json
    except ValueError:
        return None
    inner = said.get("applied")
    return (inner if isinstance(inner, dict) else said).get("result")


def _confirm_by(answer: Answer, before: datetime | None) -> datetime | None:
    """The time that an answer names; the one before where it is about something else than the configuration."""
    try:
        said = answer.json
        if "confirm_by" not in said:
            return before
        found = said["confirm_by"]
        return datetime.fromisoformat(found) if isinstance(found, str) else None
    except ValueError:
        return before


def _without_saving(question: Question) -> Question:
    """The same change, which the first worker has written to the file already where that was asked for."""
    body = _json(question.body)
    if isinstance(body, dict) and body.pop("save", False):
        question = replace(question, body=orjson.dumps(body))
    return replace(question, target=without(question.target, "save"))


def without(target: str, name: str) -> str:
    """Path and query without one parameter."""
    path, _, query = target.partition("?")
    rest = urlencode([each for each in parse_qsl(query, keep_blank_values=True) if each[0] != name])
    return f"{path}?{rest}" if rest else path


def _json(body: bytes) -> object:
    """None for what is no JSON: the worker says what is wrong with it."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
