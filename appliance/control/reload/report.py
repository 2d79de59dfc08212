"""Reports the outcomes of reloads: to the log, and to those who observe them."""

from collections.abc import Callable, Iterable, Sequence

import structlog

from appliance.control.reload.outcome import Outcome
from appliance.errors import ConfigProblem

_log = structlog.get_logger(__name__)


def report(outcome: Outcome, observers: Iterable[Callable[[Outcome], None]]) -> None:
    """Log an outcome, then call every observer with it; a failure of one is logged and does not stop the others."""
    facts = {"trigger": outcome.trigger, "actor": outcome.actor, "revision": outcome.revision}
    if outcome.error is not None:
        _log.error("configuration rejected, the previous one keeps running", **facts, cause=outcome.problem)
    else:
        _log.info(f"configuration {outcome.result}", **facts, changes=[change.key for change in outcome.plan])
    if outcome.not_kept:
        _log.warning("this revision is not kept on disk: another start does not know it", cause=outcome.not_kept)
    for observer in observers:
        try:
            observer(outcome)
        except Exception:
            _log.exception("an observer of reloads failed")


def report_warnings(warnings: Sequence[ConfigProblem], *, unless: Sequence[ConfigProblem] = ()) -> None:
    """Log warnings about a configuration, except those that were logged before."""
    known = set(map(str, unless))
    for warning in dict.fromkeys(map(str, warnings)):
        if warning not in known:
            _log.warning(warning)
