"""The metrics of a supervisor, beside those of its workers, which have the label ``worker``."""

from collections.abc import Iterable
from typing import NamedTuple

from appliance.supervisor.supervisor import Supervisor


class OwnMetric(NamedTuple):
    """One metric. ``of_each`` worker, or of the supervisor."""

    name: str
    type: str
    help: str
    of_each: bool = False


READY = OwnMetric("icws_workers_ready", "gauge", "Workers that serve clients.")
WORKERS = OwnMetric("icws_workers", "gauge", "Workers that there should be, `gateway.workers`.")
STARTS = OwnMetric("icws_worker_starts_total", "counter", "Processes that were started for a worker.", of_each=True)
ENTRIES = OwnMetric(
    "icws_cluster_engine_entries",
    "gauge",
    "Openings and places that the supervisor keeps as the engine of its workers.",
)
ENTRIES_LIMIT = OwnMetric("icws_cluster_engine_entries_limit", "gauge", "The most of them, `cluster.claims`.")
OWN_METRICS = (READY, WORKERS, STARTS, ENTRIES, ENTRIES_LIMIT)
"""All of them, in the order of the page."""


def render(supervisor: Supervisor) -> bytes:
    """The metrics in the text format of Prometheus."""
    lines: list[str] = []

    def add(metric: OwnMetric, samples: Iterable[tuple[str, float]]) -> None:
        lines.append(f"# HELP {metric.name} {metric.help}")
        lines.append(f"# TYPE {metric.name} {metric.type}")
        lines.extend(f"{metric.name}{labels} {value}" for labels, value in samples)

    workers = supervisor.workers
    add(READY, [("", sum(each.ready.is_set() for each in workers))])
    add(WORKERS, [("", len(workers))])
    add(STARTS, [(f'{{worker="{each.role.number}"}}', each.starts) for each in workers])
    if (engine := supervisor.engine) is not None:
        add(ENTRIES, [("", len(engine.board))])
        add(ENTRIES_LIMIT, [("", engine.board.limit)])
    return "".join(line + "\n" for line in lines).encode()
