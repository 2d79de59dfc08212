"""What several workers answer is one answer."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from appliance.supervisor.control import merging

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def session(number: int, after_us: int) -> dict[str, Any]:
    at = BEGAN + timedelta(microseconds=after_us)
    return {"id": f"s{number:04}", "connected_at": at.isoformat().replace("+00:00", "Z")}


def page(found: list[dict[str, Any]], limit: int, after: str | None) -> dict[str, Any]:
    """As one worker answers: see ``routes.selection.page``."""
    time, _, name = (after or "-1000.").partition(".")
    ordered = sorted((merging.microseconds(each["connected_at"]), each["id"], each) for each in found)
    later = [each for at, own, each in ordered if (at, own) > (int(time) // 1000, name)]
    is_more = len(later) > limit
    last = later[:limit][-1:]
    following = f"{merging.microseconds(last[0]['connected_at'])}000.{last[0]['id']}" if last and is_more else None
    return {"items": later[:limit], "next": following}


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50))), st.integers(1, 7))
def test_pages_list_each_session_once_and_the_longest_connected_first(
    placed: list[tuple[int, int]], limit: int
) -> None:
    workers: dict[int, list[dict[str, Any]]] = {1: [], 2: [], 3: []}
    for number, (worker, after_us) in enumerate(placed):
        workers[worker].append(session(number, after_us))
    seen: list[dict[str, Any]] = []
    after = None
    while True:
        found = merging.sessions({number: page(own, limit, after) for number, own in workers.items()}, limit)
        seen += found["items"]
        if (after := found["next"]) is None:
            break
    everybody = [each for own in workers.values() for each in own]
    assert seen == sorted(everybody, key=lambda it: (merging.microseconds(it["connected_at"]), it["id"]))


TEXT = b"""# HELP a_total Counts.
# TYPE a_total counter
a_total 1.0
a_total{kind="x y}"} 2.0
# HELP b_seconds Time.
# TYPE b_seconds histogram
b_seconds_bucket{le="+Inf"} 3.0
b_seconds_sum 1.5
b_seconds_count 3.0
"""


def test_metrics_of_all_workers_are_one_text_that_prometheus_reads() -> None:
    merged = merging.metrics({1: TEXT, 2: TEXT.replace(b"3.0", b"4.0") + b"# TYPE c gauge\nc 7\n"}).decode()
    families = {each.name: each for each in text_string_to_metric_families(merged)}
    assert list(families) == ["a", "b_seconds", "c"]
    assert merged.count("# HELP a_total") == 1
    read = {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for family in families.values()
        for each in family.samples
    }
    assert read["a_total", (("worker", "1"),)] == 1
    assert read["a_total", (("kind", "x y}"), ("worker", "2"))] == 2
    assert read["b_seconds_count", (("worker", "2"),)] == 4
    assert read["c", (("worker", "2"),)] == 7
    assert len(read) == 11


def status(**given: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(("sessions", "connections", "departing", "calls_under_way", "calls_waiting", "calls_limit"), 1),
        **dict.fromkeys(("draining", "stopping", "differs_from_file"), False),
        "problems": [],
        "config_hash": "a",
        "version": "1",
        **given,
    }


def test_the_status_adds_what_is_counted_and_says_whose_a_problem_is() -> None:
    answers = {
        1: status(problems=["everybody's"], draining=True),
        2: status(problems=["everybody's", "mine"], sessions=5),
    }
    found = merging.status(answers)
    assert (found["sessions"], found["calls_limit"], found["draining"], found["version"]) == (6, 2, True, "1")
    assert found["problems"] == ["everybody's", "worker 2: mine"]
    other = merging.status({1: status(), 2: status(config_hash="b")})
    assert "different configurations" in other["problems"][0]


def test_a_gateway_is_ready_while_one_worker_is() -> None:
    ok = {"status": "ok", "checks": [{"name": "loop", "ok": True, "detail": "on time"}]}
    failing = {"status": "failing", "checks": [{"name": "loop", "ok": False, "detail": "late"}]}
    assert merging.health({1: ok, 2: failing}) == {
        "status": "ok",
        "checks": [{"name": "loop", "ok": False, "detail": "worker 2: late"}],
    }
    assert merging.health({1: failing, 2: failing})["checks"][0]["detail"] == "late"
    assert merging.health({1: {"status": "failing"}, 2: {"status": "failing"}}) == {"status": "failing"}


def drain(state: str, **given: Any) -> dict[str, Any]:
    return {"state": state, "total": 2, "closed": 1, "left": 1, "rate": 5.0, "eta_s": 1.0, "canisters": [], **given}


def test_a_drain_runs_while_it_does_at_one_worker() -> None:
    found = merging.drain({1: drain("done", eta_s=None, closed=2), 2: drain("closing", eta_s=3.0)})
    assert found == drain("closing", total=4, closed=3, left=2, rate=10.0, eta_s=3.0)
    assert merging.drain({1: drain("none"), 2: drain("none")})["state"] == "none"


def sample(count: int) -> dict[str, Any]:
    hop = {"name": "call", "count": count, "sum_s": float(count), "p50_s": float(count), "p90_s": None, "p99_s": None}
    return {
        "at": "2026-01-01T00:00:00Z",
        "sessions": count,
        "connections": count,
        "counters": {"polls": count},
        "totals": {"closed": count},
        "by": {"closed": {"1000": count}},
        "hops": [hop] if count else [],
        "loop_lag_s": float(count),
    }


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=4))
def test_samples_of_all_are_added_the_latest_to_the_latest(histories: list[list[int]]) -> None:
    answers = {
        number: {"every_s": 1.0, "items": list(map(sample, history)), "now": sample(1)}
        for number, history in enumerate(histories, 1)
    }
    found = merging.recent(answers)
    assert len(found["items"]) == max(map(len, histories))
    for back, each in enumerate(reversed(found["items"]), 1):
        expected = sum(history[-back] for history in histories if len(history) >= back)
        assert each["counters"] == {"polls": expected}
        assert sum(hop["count"] for hop in each["hops"]) == expected
    assert found["now"]["sessions"] == len(histories)


def test_statistics_are_added_and_quantiles_are_those_of_the_slowest() -> None:
    found = merging.stats({1: sample(2), 2: sample(3), 3: sample(0)})
    assert found["counters"] == {"polls": 5}
    assert found["by"] == {"closed": {"1000": 5}}
    assert found["hops"][0] == {"name": "call", "count": 5, "sum_s": 5.0, "p50_s": 3.0, "p90_s": None, "p99_s": None}
    assert found["loop_lag_s"] == 3.0


def test_canisters_and_closed_sessions_are_added() -> None:
    one = {"id": "a", "name": None, "clients": 1, "sessions": 1, "waiting_calls": 0}
    found = merging.canisters({1: {"items": [one]}, 2: {"items": [{**one, "clients": 3}, {**one, "id": "b"}]}})
    assert [(each["id"], each["clients"], each["sessions"]) for each in found["items"]] == [("a", 4, 2), ("b", 1, 1)]
    assert merging.closed({1: {"matched": 2, "closed": 1}, 2: {"matched": 1, "closed": 1}}) == {
        "matched": 3,
        "closed": 2,
    }


def test_what_ended_last_comes_first() -> None:
    times = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.500000Z", "2026-01-01T00:00:01Z"]
    early, middle, late = ({"moments": [{"at": at}], "at": at} for at in times)
    answers = {1: {"items": [late, early]}, 2: {"items": [middle]}}
    assert merging.stories(answers, 2)["items"] == [late, middle]
    assert merging.latest(answers, "at")["items"] == [late, middle, early]
