"""Readiness, check by check; the whole of it on real sockets is in routes/test_health.py."""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from appliance.config.schema import Config
from appliance.control.health.checks import MAX_SKEW_S, PROBE_CACHE_S, DataPlane, Ic, IcProbe, ready_checks
from appliance.control.health.health import Finding
from appliance.crypto import CertifiedTree
from appliance.errors import CertificateSignatureInvalid, IcUnreachable
from appliance.gateway.sockets.tls.loading import LoadedTls

NOW_NS = 1_800_000_000 * 10**9
LISTED = {"canisters": [{"id": "bkyz2-fmaaa-aaaaa-qaaaq-cai"}]}


@dataclass
class ScriptedIc:
    """Answers with a time, or raises."""

    ahead_s: float = 0.0
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    async def status(self) -> Mapping[str, object]:
        return self._answer("status")

    async def read_state(
        self, paths: Sequence[Sequence[bytes]], canister_id: bytes, *, timeout_s: float | None = None
    ) -> CertifiedTree:
        assert paths == [[b"time"]]
        return self._answer("read_state")

    def _answer(self, what: str) -> Any:
        self.asked.append(what)
        if self.error is not None:
            raise self.error
        return SimpleNamespace(time_ns=NOW_NS + round(self.ahead_s * 1e9))


def gateway(config: dict[str, Any] | None = None, **more: Any) -> Any:
    values = {"pollers": None, "stopping": False, "is_accepting": True, "principal": "2vxsx-fae", **more}
    epochs = values["pollers"]
    return SimpleNamespace(config=Config.model_validate(config or {}), clock=lambda: NOW_NS, epochs=epochs, **values)


def probe(ic: Ic, config: dict[str, Any] | None = None, monotonic: Callable[[], float] = lambda: 0.0) -> IcProbe:
    return IcProbe(ic, gateway(LISTED if config is None else config), monotonic=monotonic)


async def test_one_question_answers_three_checks() -> None:
    ic = ScriptedIc(ahead_s=2.0)
    it = probe(ic)
    found = await asyncio.gather(it.is_reachable(), it.is_trusted(), it.agrees_on_time())
    assert all(finding.ok for finding in found)
    assert found[2].detail == "this clock is 2.0 s behind the IC's time"
    assert ic.asked == ["read_state"]


async def test_an_answer_counts_for_a_while() -> None:
    now = 0.0
    ic = ScriptedIc()
    it = probe(ic, monotonic=lambda: now)
    for now in (0.0, PROBE_CACHE_S - 0.1, PROBE_CACHE_S, PROBE_CACHE_S + 1):  # noqa: B007 - the clock reads it
        await it.is_reachable()
    assert len(ic.asked) == 2


@pytest.mark.parametrize(("ahead_s", "ok"), [(0, True), (MAX_SKEW_S, True), (-MAX_SKEW_S, True)])
async def test_a_clock_may_be_a_little_off(ahead_s: float, ok: bool) -> None:
    assert (await probe(ScriptedIc(ahead_s)).agrees_on_time()).ok is ok
    assert not (await probe(ScriptedIc(ahead_s + (61 if ahead_s >= 0 else -61))).agrees_on_time()).ok


async def test_an_ic_that_does_not_answer_is_told_as_that_alone() -> None:
    it = probe(ScriptedIc(error=IcUnreachable("https://icp-api.io", "timed out")))
    reachable = await it.is_reachable()
    assert not reachable.ok
    assert "timed out" in reachable.detail
    assert (await it.is_trusted()).ok
    assert (await it.agrees_on_time()).ok


async def test_an_ic_with_another_key_is_there_and_not_trusted() -> None:
    it = probe(ScriptedIc(error=CertificateSignatureInvalid("it was made with another key")))
    assert (await it.is_reachable()).ok
    trusted = await it.is_trusted()
    assert not trusted.ok
    assert "another key" in trusted.detail


async def test_without_a_canister_it_is_only_asked_whether_it_is_there() -> None:
    ic = ScriptedIc()
    it = probe(ic, {})
    assert all([(await it.is_reachable()).ok, (await it.is_trusted()).ok, (await it.agrees_on_time()).ok])
    assert ic.asked == ["status"]
    assert "not checked" in (await it.agrees_on_time()).detail


def plane(**more: Any) -> DataPlane:
    listener = SimpleNamespace(urls=more.get("urls", ["ws://127.0.0.1:8080"]), tls=more.get("tls", LoadedTls()))
    return DataPlane(gateway(**more), listener)  # type: ignore[arg-type]


def test_it_lets_clients_in_unless_it_is_drained_or_stops() -> None:
    assert plane().accepts().ok
    assert plane(is_accepting=False).accepts() == Finding(False, "the gateway is draining")
    assert plane(is_accepting=False, stopping=True).accepts() == Finding(False, "the gateway is stopping")


def test_it_has_to_listen_somewhere() -> None:
    assert plane().listens() == Finding(True, "listens at ws://127.0.0.1:8080")
    assert plane(urls=[]).listens() == Finding(False, "has no listening socket")


class Pollers(dict[str, Any]):
    """As the gateway has them; so many canisters wait for their share of the budget."""

    def __init__(self, waiting: int = 0, **states: str) -> None:
        super().__init__({canister: poller(state) for canister, state in states.items()})
        self.poll_budget = SimpleNamespace(waiting=waiting, rate=200.0)


def poller(state: str) -> Any:
    """``passed``: polls succeed, and something is wrong all the same."""
    error = {"degraded": "no answer", "passed": "the queue is too large"}.get(state)
    shown = "degraded" if error else state
    return SimpleNamespace(facts=SimpleNamespace(state=shown, last_error=error, failures=state == "degraded"))


def test_it_is_well_as_long_as_one_canister_answers() -> None:
    assert plane(pollers=Pollers()).polls() == Finding(True, "no canister has clients")
    assert plane(pollers=Pollers(a="ok")).polls() == Finding(True, "1 canister is polled")
    assert plane(pollers=Pollers(a="ok", b="paused")).polls() == Finding(True, "2 canisters are polled")
    some = plane(pollers=Pollers(a="ok", b="degraded")).polls()
    assert some.ok
    assert some.detail == "no answer from 1 of 2 canisters, b among them: no answer"
    assert not plane(pollers=Pollers(b="degraded")).polls().ok


def test_the_detail_of_polls_has_what_is_wrong_where_they_succeed() -> None:
    passed = plane(pollers=Pollers(a="passed")).polls()
    assert passed == Finding(True, "1 canister is polled; the queue is too large")
    both = plane(pollers=Pollers(a="passed", b="degraded")).polls()
    assert both.ok
    assert both.detail.endswith("b among them: no answer; the queue is too large")
    busy = plane(pollers=Pollers(waiting=7, a="ok")).polls()
    assert busy.ok
    assert busy.detail.endswith("7 canisters wait for their turn: polling.budget is 200 polls a second")


@pytest.mark.parametrize(
    ("left", "is_ok", "detail"),
    [
        (timedelta(days=100), True, "the certificate expires on 2027-04-25"),
        (timedelta(days=1), True, "the certificate expires on 2027-01-16, which is soon"),
        (timedelta(days=-1), False, "the certificate expired on 2027-01-14"),
    ],
)
def test_the_certificate_that_is_served_must_not_be_over(left: timedelta, is_ok: bool, detail: str) -> None:
    """Of the pair in use, whatever lies in its files by now: a renewal that waits for a reload helps nobody."""
    files = {"gateway": {"tls": {"certificate": "nowhere.pem", "key": "nowhere.pem"}}}
    tls = LoadedTls(ssl.create_default_context(), b"", datetime.fromtimestamp(NOW_NS / 1e9, UTC) + left)
    assert plane(config=files, tls=tls).has_valid_certificate() == Finding(is_ok, detail)


def test_without_a_certificate_there_is_nothing_to_renew() -> None:
    assert plane().has_valid_certificate() == Finding(True, "no TLS")
    assert plane(tls=LoadedTls(ssl.create_default_context())).has_valid_certificate().ok


def test_the_checks_have_names_that_stay() -> None:
    found = ready_checks(gateway(), SimpleNamespace(), probe(ScriptedIc()), lambda: Finding(True, ""))  # type: ignore[arg-type]
    assert sorted(found) == [
        "accepting",
        "clock",
        "cluster",
        "ic",
        "identity",
        "listener",
        "loop",
        "polling",
        "root_key",
        "tls",
    ]
