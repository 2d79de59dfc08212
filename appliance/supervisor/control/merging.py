"""Makes one answer of those of several workers: values in, values out.

Answers are plain values of JSON, by the number of the worker.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime.fromtimestamp(0, UTC)

Answers = Mapping[int, dict[str, Any]]

_SAMPLE = re.compile(rb"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?( .*)")
_ADDED = ("sessions", "connections", "departing", "calls_under_way", "calls_waiting", "calls_limit")
_OF_CANISTER = ("clients", "sessions", "waiting_calls")
_ANY = ("draining", "stopping", "differs_from_file")


def metrics(texts: Mapping[int, bytes]) -> bytes:
    """Metrics in the text format of Prometheus, each sample with the label ``worker``. The lines of a metric stay
    together, as the format asks for.
    """
    heads: dict[bytes, list[bytes]] = {}
    samples: dict[bytes, list[bytes]] = {}
    for number, text in texts.items():
        family = b""
        for line in text.splitlines():
            if line.startswith((b"# HELP ", b"# TYPE ")):
                family = line.split(b" ", 3)[2]
                of_family = heads.setdefault(family, [])
                if line.split(b" ", 3)[1] not in [each.split(b" ", 3)[1] for each in of_family]:
                    of_family.append(line)
                samples.setdefault(family, [])
            elif match := _SAMPLE.fullmatch(line):
                labels = b'worker="%d"' % number + (b"," + match[2] if match[2] else b"")
                samples.setdefault(family, []).append(b"%s{%s}%s" % (match[1], labels, match[3]))
    lines = [line for family in samples for line in (*heads.get(family, []), *samples[family])]
    return b"".join(line + b"\n" for line in lines)


def status(answers: Answers) -> dict[str, Any]:
    """The gateway at a glance: what is counted is added, and a problem says whose it is unless it is everybody's."""
    first = dict(answers[min(answers)])
    for name in _ADDED:
        first[name] = sum(each[name] for each in answers.values())
    for name in _ANY:
        first[name] = any(each[name] for each in answers.values())
    first["problems"] = _problems({number: each["problems"] for number, each in answers.items()})
    texts = {each["config_hash"] for each in answers.values()}
    if len(texts) > 1:
        problem = "workers run different configurations; a reload, or a restart of the workers, makes them one"
        first["problems"] = [problem, *first["problems"]]
    return first


def _problems(found: Mapping[int, list[str]]) -> list[str]:
    whose: dict[str, list[int]] = {}
    for number, problems in found.items():
        for problem in problems:
            whose.setdefault(problem, []).append(number)
    return [
        problem if len(numbers) == len(found) else f"worker {', '.join(map(str, numbers))}: {problem}"
        for problem, numbers in whose.items()
    ]


def sessions(answers: Answers, limit: int) -> dict[str, Any]:
    """A page of sessions, the longest connected first. The cursor is a time and an id, so it is one for all."""
    found = sorted((each for one in answers.values() for each in one["items"]), key=_position)
    more = len(found) > limit or any(each["next"] for each in answers.values())
    items = found[:limit]
    return {"items": items, "next": _cursor(items[-1]) if more and items else None}


def _cursor(session: Mapping[str, Any]) -> str:
    """As ``routes.selection.page`` makes it: ns to the microsecond, and the id."""
    at, name = _position(session)
    return f"{at * 1000}.{name}"


def _position(session: Mapping[str, Any]) -> tuple[int, str]:
    return microseconds(session["connected_at"]), session["id"]


def microseconds(time: str) -> int:
    """Since 1970, of a time as the API writes it, in UTC."""
    return (datetime.fromisoformat(time) - _EPOCH) // timedelta(microseconds=1)


def latest(answers: Answers, key: str, limit: int | None = None) -> dict[str, Any]:
    """Lists that have the latest first. ``key`` is that of the time, in ISO 8601 and UTC."""
    found = [each for one in answers.values() for each in one["items"]]
    return {"items": sorted(found, key=lambda it: microseconds(it[key]), reverse=True)[:limit]}


def stories(answers: Answers, limit: int) -> dict[str, Any]:
    """Timelines of sessions that have ended, the latest first."""
    found = [each for one in answers.values() for each in one["items"]]
    found.sort(key=lambda it: microseconds(it["moments"][-1]["at"]) if it["moments"] else 0, reverse=True)
    return {"items": found[:limit]}


def closed(answers: Answers) -> dict[str, Any]:
    """How many sessions matched, and how many were closed."""
    return {name: sum(each[name] for each in answers.values()) for name in ("matched", "closed")}


def drain(answers: Answers) -> dict[str, Any]:
    """The progress of a drain: counts are added, and it runs while it does at one worker."""
    first = dict(answers[min(answers)])
    order = ("closing", "waiting", "cancelled", "done")
    states = {each["state"] for each in answers.values()}
    first["state"] = next((state for state in order if state in states), first["state"])
    for name in ("total", "closed", "left", "rate"):
        found = [each[name] for each in answers.values() if each.get(name) is not None]
        first[name] = sum(found) if found else None
    first["eta_s"] = max((each["eta_s"] for each in answers.values() if each.get("eta_s") is not None), default=None)
    return first


def health(answers: Answers) -> dict[str, Any]:
    """A gateway is ready while one of its workers is: the others leave newcomers to that one. With checks where they
    were asked for.
    """
    is_ok = any(each["status"] == "ok" for each in answers.values())
    merged: dict[str, Any] = {"status": "ok" if is_ok else "failing"}
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for number, each in answers.items():
        for check in each.get("checks", []):
            found.setdefault(check["name"], {})[number] = check
    if any("checks" in each for each in answers.values()):
        merged["checks"] = [_check(of_workers) for of_workers in found.values()]
    return merged


def _check(found: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """What one check says at each worker: where some fail, what these say."""
    failing = {number: each for number, each in found.items() if not each["ok"]}
    if not failing:
        return found[min(found)]
    details = _problems({number: [failing[number]["detail"]] if number in failing else [] for number in found})
    return {**found[min(found)], "ok": False, "detail": "; ".join(details)}


def stats(answers: Answers) -> dict[str, Any]:
    """Counters are added. The quantiles of a hop are those of the slowest worker."""
    found = [answers[number] for number in sorted(answers)]
    hops: dict[str, dict[str, Any]] = {}
    for each in (hop for one in found for hop in one["hops"]):
        known = hops.setdefault(each["name"], {**each, "count": 0, "sum_s": 0.0})
        known["count"] += each["count"]
        known["sum_s"] += each["sum_s"]
        for name in ("p50_s", "p90_s", "p99_s"):
            known[name] = max((it for it in (known[name], each[name]) if it is not None), default=None)
    return {
        **found[0],
        "counters": _added([one["counters"] for one in found]),
        "by": {name: _added([one["by"].get(name, {}) for one in found]) for name in found[0]["by"]},
        "hops": list(hops.values()),
        "loop_lag_s": max(one["loop_lag_s"] for one in found),
    }


def recent(answers: Answers) -> dict[str, Any]:
    """Samples of all workers, taken at about the same time: the latest of each belong together. A worker that began
    later has none of before.
    """
    found = [answers[number] for number in sorted(answers)]
    longest = max(found, key=lambda one: len(one["items"]))
    items = []
    for back in range(len(longest["items"]), 0, -1):
        items.append(_sample([one["items"][-back] for one in found if len(one["items"]) >= back]))
    return {"every_s": found[0]["every_s"], "items": items, "now": _sample([one["now"] for one in found])}


def _sample(found: list[dict[str, Any]]) -> dict[str, Any]:
    hops: dict[str, dict[str, Any]] = {}
    for each in (hop for one in found for hop in one["hops"]):
        known = hops.setdefault(each["name"], {"name": each["name"], "count": 0, "sum_s": 0.0})
        known["count"] += each["count"]
        known["sum_s"] += each["sum_s"]
    return {
        "at": found[0]["at"],
        "sessions": sum(one["sessions"] for one in found),
        "connections": sum(one["connections"] for one in found),
        "counters": _added([one["counters"] for one in found]),
        "totals": _added([one["totals"] for one in found]),
        "hops": list(hops.values()),
    }


def _added(found: list[dict[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for each in found for name in each)
    return {name: sum(each.get(name, 0) for each in found) for name in names}


def canisters(answers: Answers) -> dict[str, Any]:
    """Canisters, with the clients of all workers."""
    items: dict[str, dict[str, Any]] = {}
    for one in answers.values():
        for each in one["items"]:
            known = items.setdefault(each["id"], {**each, **dict.fromkeys(_OF_CANISTER, 0)})
            for name in _OF_CANISTER:
                known[name] += each[name]
    return {"items": list(items.values())}
