import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.history import hash_of
from appliance.config.load import Loaded
from appliance.config.source import Source, start
from appliance.control.reload import file_difference, revisions
from appliance.control.reload.outcome import Outcome
from appliance.control.reload.trials import RETRY_S
from appliance.errors import (
    ConfigError,
    ConfigProblem,
    ConfirmationPending,
    EtagMismatch,
    ForceNeeded,
    IcUnreachable,
    NothingToConfirm,
    NothingToRollBackTo,
    NothingToTry,
    ReloadFailed,
    ReloadTooLate,
    RestartNeeded,
    RevisionReplaced,
    RevisionUnknown,
)
from appliance.threads import FILES
from appliance.whole_files import write_whole
from tests.control.reload.reloading import CHAT, FORUM, Bench, bench
from tests.gateway.bench import until

OLD = "log: {level: info}\n"
NEW = "log: {level: debug}\n"
CANISTERS = f"canisters: [{{id: {CHAT}}}, {{id: {FORUM}}}]\n"
RESTART = "gateway:\n  journal: other.journal\nlog: {level: debug}\n"


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path / "gateway.yaml", OLD) as made:
        yield made


async def reload(it: Bench, text: str) -> Outcome:
    it.write(text)
    return await it.reloads.apply(trigger="signal", actor="SIGHUP")


async def settled() -> None:
    """Until every task waits for something outside."""
    for _ in range(50):
        await asyncio.sleep(0)
    await FILES.run(int)


def as_before(it: Bench, text: str = OLD) -> bool:
    """Whether nothing has changed since the start."""
    return (it.reloads.loaded.text, it.reloads.revision, it.followed) == (text, 1, it.reloads.config)


# --- applied ----------------------------------------------------------------------------------------------------------


async def test_a_start_is_a_good_generation(it: Bench) -> None:
    assert it.states == [(1, OLD, "good")]
    assert [outcome.result for outcome in it.told] == ["started"]
    assert it.reloads.last.revision == it.reloads.revision == 1
    assert not await it.reloads.differs_from_file()


async def test_every_part_prepares_then_all_swap_then_all_retire(it: Bench) -> None:
    outcome = await reload(it, NEW)
    assert it.notes == [f"{name} {step}" for step in ("prepare", "commit", "cleanup") for name in "abc"]
    assert it.followed is it.reloads.config
    assert it.followed.log.level == "debug"
    assert [(change.key, change.old, change.new) for change in outcome.plan] == [("log.level", "info", "debug")]
    assert (outcome.result, outcome.revision, outcome.trigger, outcome.actor) == ("applied", 2, "signal", "SIGHUP")
    assert it.told[-1] == it.reloads.last == outcome
    assert it.states == [(1, OLD, "good"), (2, NEW, "good")]
    assert it.reloads.history[2].file_hash == hash_of(NEW)


async def test_what_runs_already_is_not_applied_again(it: Bench) -> None:
    before = it.reloads.etag
    outcome = await it.reloads.apply(trigger="signal", actor="SIGHUP")
    assert (outcome.result, outcome.revision, it.reloads.etag) == ("unchanged", 1, before)
    assert it.notes == []
    assert it.states == [(1, OLD, "good")]


async def test_another_wording_is_a_generation_that_no_part_hears_of(it: Bench) -> None:
    outcome = await reload(it, OLD + "# a comment\n")
    assert (outcome.result, outcome.revision, len(outcome.plan)) == ("applied", 2, 0)
    assert it.notes == []
    assert not await it.reloads.differs_from_file()


async def test_a_text_runs_without_being_in_the_file(it: Bench) -> None:
    await it.reloads.apply(NEW, trigger="api", actor="jane")
    assert it.followed.log.level == "debug"
    assert it.file.read_text() == OLD
    assert await it.reloads.differs_from_file()
    assert it.reloads.history[2].file_hash == hash_of(OLD)
    await it.reloads.save(2)
    assert it.file.read_text() == NEW
    assert not await it.reloads.differs_from_file()


async def test_what_does_not_run_any_more_is_not_written_to_the_file(it: Bench) -> None:
    """A configuration on trial least of all, in the name of the one before it."""
    first = await it.reloads.apply(NEW, trigger="api", actor="jane")
    await it.reloads.apply("log: {level: error}\n", trigger="api", actor="joe", confirm_within_s=60)
    with pytest.raises(RevisionReplaced, match="revision 3 of the configuration has replaced revision 2"):
        await it.reloads.save(first.revision)
    assert it.file.read_text() == OLD


async def test_a_file_that_is_named_and_changes_is_applied(it: Bench) -> None:
    (it.file.parent / "p.py").write_text("1")
    await reload(it, "plugins: [{path: p.py}]\n")
    it.notes.clear()
    (it.file.parent / "p.py").write_text("2")
    outcome = await it.reloads.apply(trigger="watch", actor="file")
    assert [(change.key, change.in_file) for change in outcome.plan] == [("plugins[p].path", True)]
    assert "a commit" in it.notes
    assert (await it.reloads.apply(trigger="watch", actor="file")).result == "unchanged"


async def test_a_plan_changes_nothing(it: Bench) -> None:
    it.sessions[CHAT] = 7
    await reload(it, CANISTERS)
    it.notes.clear()
    it.write(f"canisters: [{{id: {CHAT}, paused: true}}, {{id: {FORUM}}}]\nlog: {{level: debug}}\n")
    changes = await it.reloads.plan()
    assert [(change.key, change.sessions) for change in changes] == [("log.level", 0), (f"canisters[{CHAT}].paused", 7)]
    assert len(await it.reloads.plan(OLD)) == 2
    assert it.notes == []
    assert it.reloads.revision == 2
    with pytest.raises(ConfigError, match=r"^text:1:1: lgo: unknown key; did you mean 'log'\?"):
        await it.reloads.plan("lgo: {}\n")


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        ("log: {level: de", "a comma or } is missing"),
        ("log: {levle: debug}\n", ":1:7: log.levle: unknown key; did you mean 'level'?"),
        ("log: {level: loud}\n", ":1:14: log.level: must be debug or info or"),
    ],
)
async def test_a_bad_file_changes_nothing_and_says_where_it_is_bad(it: Bench, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await reload(it, text)
    assert str(caught.value).startswith(str(it.file))
    assert problem in str(caught.value)
    assert as_before(it)
    assert it.notes == []
    assert (it.reloads.last.result, it.reloads.last.problem) == ("rejected", str(caught.value))
    assert it.states == [(1, OLD, "good")]


@given(
    failing=st.sets(st.integers(0, 2), min_size=1),
    stubborn=st.sets(st.integers(0, 2)),
    error=st.sampled_from([OSError("taken"), ConfigError([ConfigProblem("", "log", "no")]), ValueError("a bug")]),
)
def test_a_part_that_cannot_prepare_keeps_everything_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, failing: set[int], stubborn: set[int], error: Exception
) -> None:
    async def law() -> None:
        file = tmp_path_factory.mktemp("reload") / "gateway.yaml"
        async with bench(file, OLD) as it:
            for number in failing:
                it.parts[number].errors["prepare"] = error
            for number in stubborn:
                it.parts[number].errors["rollback"] = OSError("it stays")
            with pytest.raises(type(error)):
                await reload(it, NEW)
            assert as_before(it)
            prepared = "abc"[: min(failing)]
            assert it.notes == [
                *(f"{name} prepare" for name in "abc"[: min(failing) + 1]),
                *(f"{name} rollback" for name in reversed(prepared)),
            ]
            assert it.states == [(1, OLD, "good"), (2, NEW, "rejected")]
            for part in it.parts:
                part.errors.clear()
            assert (await reload(it, NEW)).revision == 3

    with structlog.testing.capture_logs():
        asyncio.run(law())


async def test_what_a_part_refuses_has_the_place_of_its_key(it: Bench) -> None:
    it.parts[1].errors["prepare"] = ConfigError(
        [
            ConfigProblem("", f"canisters[{FORUM}].polling", "is not possible"),
            ConfigProblem("/a.pem", "gateway.tls", "has expired"),
            ConfigProblem("", "gateway.listen", "is taken"),
        ]
    )
    with pytest.raises(ConfigError) as caught:
        await reload(it, "# first\n" + CANISTERS)
    assert [str(problem) for problem in caught.value.problems] == [
        f"{it.file}:2:48: canisters[{FORUM}].polling: is not possible",
        "/a.pem: gateway.tls: has expired",
        f"{it.file}:2:1: gateway.listen: is taken",
    ]
    assert it.reloads.history[2].problem == str(caught.value)


async def test_a_part_that_fails_to_swap_is_put_back_with_all_others(it: Bench) -> None:
    it.parts[1].errors["commit"] = ValueError("a bug")
    with pytest.raises(ReloadFailed, match="was restored"):
        await reload(it, NEW)
    await settled()
    assert as_before(it)
    steps = ["prepare", "commit", "prepare", "commit", "cleanup", "cleanup"]
    assert it.notes == [f"{name} {step}" for step in steps for name in "abc"]
    assert it.states == [(1, OLD, "good"), (2, NEW, "rejected")]


async def test_not_even_that_is_a_way_to_lose_the_gateway(it: Bench) -> None:
    it.parts[1].errors["commit"] = ValueError("a bug")
    it.parts[2].errors["cleanup"] = OSError("it stays")
    prepared = iter([None, OSError("nor back")])

    async def before_prepare() -> None:
        if (error := next(prepared)) is not None:
            raise error

    it.parts[0].before_prepare = before_prepare
    with pytest.raises(ReloadFailed):
        await reload(it, NEW)
    it.parts[0].before_prepare = None
    assert (await reload(it, NEW)).result == "applied"
    assert it.followed.log.level == "debug"


async def test_on_a_full_disk_a_reload_runs_and_says_that_it_is_not_kept(
    it: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    assert (await reload(it, NEW)).not_kept is None
    monkeypatch.setattr("os.fsync", full)
    outcome = await reload(it, OLD)
    assert (outcome.result, it.followed.log.level) == ("applied", "info")
    assert outcome.not_kept == f"{it.reloads.history.folder}/000003.json: No space left on device"
    monkeypatch.undo()
    assert (await reload(it, NEW)).not_kept is None
    assert [record.revision for record in start(Source(it.file)).history] == [4, 3, 2, 1]


async def test_a_start_on_a_full_disk_runs_and_says_that_it_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = Bench(tmp_path / "gateway.yaml")
    it.write(OLD)
    begun = it.make()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    async with begun:
        assert "Read-only file system" in (begun.last.not_kept or "")
        assert begun.revision == 1


async def test_rollbacks_that_fail_do_not_prune_what_runs_on_trial(it: Bench) -> None:
    await reload(it, "control: {keep: 2}\n")
    it.write(NEW + "control: {keep: 2}\n")
    await it.reloads.apply(trigger="api", actor="me", confirm_within_s=60)
    for _ in range(3):
        it.parts[0].errors["prepare"] = OSError("the address is taken")
        with pytest.raises(OSError, match="taken"):
            await it.reloads.roll_back(actor="me")
    assert (await it.reloads.confirm(actor="me")).result == "confirmed"
    assert it.reloads.history[it.reloads.revision].state == "good"


async def test_what_cannot_run_is_refused_by_a_plan_as_by_an_apply(it: Bench) -> None:
    seen: list[tuple[str, str]] = []

    async def examine(new: Loaded, old: Loaded) -> None:
        seen.append((new.config.log.level, old.config.log.level))
        raise ConfigError([ConfigProblem("g.yaml:1:1", "log", "cannot be used")])

    it.reloads._examine = examine
    it.write(NEW)
    _, error = await it.reloads.review()
    assert str(error) == "g.yaml:1:1: log: cannot be used"
    with pytest.raises(ConfigError, match="cannot be used"):
        await reload(it, NEW)
    assert seen == [("debug", "info")] * 2
    assert as_before(it)
    assert it.notes == []


async def test_a_text_that_says_the_same_is_no_difference(it: Bench) -> None:
    it.write("# a comment\nlog:\n  level: info\n")
    assert not await it.reloads.differs_from_file()
    assert await it.reloads.file_has_other_text()
    it.write(NEW)
    assert await it.reloads.differs_from_file()
    it.write("log: {level\n")
    assert await it.reloads.differs_from_file()


async def test_a_history_that_cannot_be_written_after_it_was_done_does_not_undo_it(
    it: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fill_the_disk() -> None:
        monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))

    it.parts[0].before_prepare = fill_the_disk
    outcome = await reload(it, NEW)
    assert (outcome.result, "full" in (outcome.not_kept or "")) == ("applied", True)
    monkeypatch.undo()
    # another start finds it unfinished, and does not run it
    assert [(record.text, record.state) for record in start(Source(it.file)).history] == [
        (NEW, "candidate"),
        (OLD, "good"),
    ]


@pytest.fixture
def hanging_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk of the history that hangs, from the moment at which a change is good, until the event is set."""
    gate = threading.Event()

    def hang(file: Path, data: bytes, *, mode: int) -> None:
        if file.name == "000002.json" and b'"good"' in data:
            gate.wait(30)
        write_whole(file, data, mode=mode)

    monkeypatch.setattr("appliance.config.history.write_whole", hang)
    yield gate
    gate.set()


async def test_a_disk_of_the_history_that_hangs_stops_no_reload(
    it: Bench, hanging_disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revisions, "WRITE_S", 0.05)
    outcome = await reload(it, NEW)
    assert outcome.result == "applied"
    assert outcome.not_kept == f"{it.reloads.history.folder}/000002.json: not written yet"
    assert "c cleanup" in it.notes
    assert (await reload(it, OLD)).result == "applied"
    hanging_disk.set()
    await until(lambda: it.reloads.history.not_kept(3) is None)
    assert list(start(Source(it.file)).history) == list(it.reloads.history)


async def test_an_attempt_never_raises(it: Bench) -> None:
    it.write("nonsense\n")
    outcome = await it.reloads.attempt(trigger="signal", actor="SIGHUP")
    assert not outcome.is_good
    assert str(it.file) in (outcome.problem or "")
    it.write(NEW)
    it.parts[0].errors["prepare"] = IcUnreachable("http://ic", "nobody there")
    assert (await it.reloads.attempt(trigger="signal", actor="SIGHUP")).result == "rejected"
    assert (await it.reloads.attempt(trigger="signal", actor="SIGHUP")).is_good


async def test_an_observer_that_fails_is_no_reason_to_fail(it: Bench) -> None:
    def fail(_: Outcome) -> None:
        raise ValueError("of an observer")

    it.reloads.observers.insert(0, fail)
    assert (await reload(it, NEW)).is_good
    assert it.told[-1].revision == 2


# --- what needs more than to be asked for -----------------------------------------------------------------------------


async def test_a_key_that_only_a_start_can_change_is_refused_with_place_and_key(it: Bench) -> None:
    with pytest.raises(RestartNeeded) as caught:
        await reload(it, RESTART)
    assert str(caught.value).startswith(f"{it.file}:2:12: gateway.journal: this change needs a restart")
    assert as_before(it)
    assert it.states == [(1, OLD, "good")]
    found, error = await it.reloads.review()
    assert isinstance(error, RestartNeeded)
    assert [change.key for change in found.restarts] == ["gateway.journal"]
    assert (await it.reloads.review(allow_restart=True))[1] is None


async def test_or_it_waits_for_the_next_start_and_the_rest_is_applied(it: Bench) -> None:
    journal = it.reloads.config.gateway.journal
    it.write(RESTART)
    outcome = await it.reloads.apply(trigger="api", actor="jane", allow_restart=True)
    assert {change.key for change in outcome.plan} == {"log.level", "gateway.journal"}
    assert it.followed.log.level == "debug"
    assert it.followed.gateway.journal == journal
    assert [change.key for change in it.reloads.pending_restart] == ["gateway.journal"]
    assert (await it.reloads.apply(trigger="signal", actor="SIGHUP")).result == "unchanged"
    assert (await reload(it, RESTART.replace("debug", "error"))).result == "applied"
    with pytest.raises(RestartNeeded):
        await reload(it, RESTART.replace("other.journal", "another.journal"))
    await reload(it, OLD)
    assert it.reloads.pending_restart == ()
    it.write(RESTART)
    await it.reloads.apply(trigger="api", actor="jane", allow_restart=True)
    async with it.make() as again:
        assert again.config.gateway.journal == it.file.parent / "other.journal"
        assert again.pending_restart == ()


async def test_what_is_invalid_without_its_part_that_needs_a_restart_is_refused_and_not_recorded(it: Bench) -> None:
    """Two addresses change places: the one that is live would meet the other, which still runs."""
    await reload(it, "gateway: {listen: 'unix:a.sock'}\n")
    it.write("gateway: {listen: 'unix:data/control.sock'}\ncontrol: {listen: 'unix:b.sock'}\n")
    before = it.states
    with pytest.raises(ConfigError):
        await it.reloads.apply(trigger="api", actor="jane", allow_restart=True)
    assert it.states == before


async def test_removing_every_canister_under_sessions_must_be_meant(it: Bench) -> None:
    it.sessions[FORUM] = 3
    await reload(it, CANISTERS)
    with pytest.raises(ForceNeeded, match=r"canisters: this removes every canister while 3 sessions are open"):
        await reload(it, OLD)
    assert len(it.followed.canisters) == 2
    assert (await reload(it, f"canisters: [{{id: {CHAT}}}]\n")).result == "applied"
    it.sessions[CHAT] = 1
    it.write(OLD)
    assert (await it.reloads.apply(trigger="api", actor="jane", force=True)).result == "applied"
    assert it.followed.canisters == []


async def test_without_sessions_or_where_others_are_served_nobody_is_lost(it: Bench) -> None:
    await reload(it, CANISTERS)
    assert (await reload(it, OLD)).result == "applied"
    it.sessions[CHAT] = 3
    await reload(it, CANISTERS)
    assert (await reload(it, OLD + "unlisted_canisters: allow\n")).result == "applied"


async def test_an_etag_guards_against_lost_updates(it: Bench) -> None:
    etag = it.reloads.etag
    await it.reloads.apply(NEW, trigger="api", actor="jane", if_match=etag)
    with pytest.raises(EtagMismatch) as caught:
        await it.reloads.apply(OLD, trigger="api", actor="joe", if_match=etag)
    assert f"{it.reloads.etag} is running, not {etag}" in str(caught.value)
    assert it.followed.log.level == "debug"
    await it.reloads.apply(OLD, trigger="api", actor="joe", if_match=it.reloads.etag)
    assert it.reloads.etag not in (etag, "")


# --- one at a time ----------------------------------------------------------------------------------------------------


async def test_one_after_the_other_and_the_second_sees_what_the_first_did(it: Bench) -> None:
    gate = asyncio.Event()
    it.parts[2].before_prepare = gate.wait
    first = asyncio.create_task(it.reloads.apply(NEW, trigger="api", actor="jane"))
    second = asyncio.create_task(it.reloads.apply(NEW, trigger="api", actor="joe"))
    await settled()
    assert not first.done()
    gate.set()
    assert ((await first).result, (await second).result) == ("applied", "unchanged")


async def test_it_is_seen_through_where_the_caller_is_gone(it: Bench) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await gate.wait()

    it.parts[1].before_prepare = wait
    caller = asyncio.create_task(it.reloads.apply(NEW, trigger="api", actor="jane"))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gate.set()
    assert (await it.reloads.apply(NEW, trigger="api", actor="joe")).result == "unchanged"
    assert it.followed.log.level == "debug"


async def test_what_takes_long_to_release_keeps_nobody_waiting_and_nothing_from_following(
    it: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.control.reload.reloads.CLEANUP_S", 0)
    gate = asyncio.Event()
    it.parts[0].before_cleanup = gate.wait
    assert (await reload(it, NEW)).result == "applied"
    assert (await reload(it, OLD)).result == "applied"
    assert "a cleanup" not in it.notes
    gate.set()
    await settled()
    assert it.notes.count("a cleanup") == it.notes.count("c cleanup") == 2


async def test_an_end_in_the_middle_of_it_discards_what_was_prepared(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    async with bench(tmp_path / "gateway.yaml") as it:
        it.parts[1].before_prepare = wait
        caller = asyncio.create_task(it.reloads.apply(NEW, trigger="api", actor="jane"))
        await begun.wait()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert it.notes == ["a prepare", "a rollback"]
    assert it.states[-1] == (2, NEW, "rejected")


# --- trials -----------------------------------------------------------------------------------------------------------


async def on_trial(it: Bench, *, keep_if_healthy: bool = False) -> Outcome:
    outcome = await it.reloads.apply(
        NEW, trigger="api", actor="jane", confirm_within_s=60, keep_if_healthy=keep_if_healthy
    )
    await settled()
    return outcome


async def rolled_back(it: Bench) -> Outcome:
    """Until that was told."""
    done = asyncio.Event()
    it.reloads.observers.append(lambda _: done.set())
    it.timer.ring()
    await done.wait()
    await settled()
    return it.told[-1]


async def test_what_is_not_confirmed_in_time_is_rolled_back(it: Bench) -> None:
    outcome = await on_trial(it)
    assert outcome.confirm_by_ns == 1_000 + 60 * 10**9
    assert it.timer.asked == [60]
    assert it.followed.log.level == "debug"
    assert it.states[-1] == (2, NEW, "candidate")
    back = await rolled_back(it)
    assert (back.result, back.revision, back.trigger) == ("rolled back", 3, "trial")
    assert [(change.key, change.old, change.new) for change in back.plan] == [("log.level", "debug", "info")]
    assert it.followed.log.level == "info"
    assert it.states == [(1, OLD, "good"), (2, NEW, "rolled back"), (3, OLD, "good")]
    assert it.reloads.history[2].problem == "not confirmed in time"
    assert it.reloads.trial is None


async def test_what_a_rollback_would_not_take_back_is_not_tried(it: Bench) -> None:
    """Such a trial would never end: there would be nothing to roll back to."""
    (it.file.parent / "p.py").write_text("1")
    text = "plugins: [{path: p.py}]\n"
    await reload(it, text)
    (it.file.parent / "p.py").write_text("2")
    with pytest.raises(NothingToTry, match="apply it without one"):
        await it.reloads.apply(trigger="api", actor="jane", confirm_within_s=60)
    assert (it.reloads.trial, it.reloads.revision) == (None, 2)
    it.write(text + NEW)
    await it.reloads.apply(trigger="api", actor="jane", confirm_within_s=60)
    await settled()
    assert (await rolled_back(it)).result == "rolled back"
    assert it.reloads.trial is None
    assert it.followed.log.level == "info"


async def test_what_is_confirmed_stays(it: Bench) -> None:
    await on_trial(it)
    outcome = await it.reloads.confirm(actor="jane")
    assert (outcome.result, outcome.revision, outcome.confirm_by_ns) == ("confirmed", 2, None)
    it.timer.ring()
    await settled()
    assert it.states == [(1, OLD, "good"), (2, NEW, "good")]
    assert it.followed.log.level == "debug"
    with pytest.raises(NothingToConfirm):
        await it.reloads.confirm(actor="jane")


async def test_a_gateway_that_stops_begins_no_reload_and_no_rollback(it: Bench) -> None:
    await on_trial(it)
    it.notes.clear()
    it.reloads.end()
    it.write(OLD)
    assert isinstance((await it.reloads.attempt(trigger="watch", actor="watch")).error, ConfirmationPending)
    with pytest.raises(ReloadTooLate):
        await it.reloads.roll_back(actor="jane")
    it.timer.ring()  # the time of the trial is over
    await settled()
    assert isinstance(it.reloads.last.error, ReloadTooLate)
    assert (await it.reloads.confirm(actor="jane")).result == "confirmed"
    late = await it.reloads.attempt(trigger="watch", actor="watch")
    assert (late.result, str(late.error)) == ("rejected", str(ReloadTooLate()))
    with pytest.raises(ReloadTooLate):
        await it.reloads.apply(OLD, trigger="api", actor="jane")
    assert it.notes == []
    assert it.states == [(1, OLD, "good"), (2, NEW, "good")]


async def test_what_is_confirmed_while_its_time_runs_out_stays(it: Bench) -> None:
    await on_trial(it)
    async with it.reloads._serial.turn():
        confirming = asyncio.create_task(it.reloads.confirm(actor="jane"))
        await settled()
        it.timer.ring()
        await settled()
    assert (await confirming).result == "confirmed"
    with pytest.raises(NothingToConfirm):  # has waited for whatever the timer began
        await it.reloads.confirm(actor="jane")
    assert it.states == [(1, OLD, "good"), (2, NEW, "good")]
    assert it.followed.log.level == "debug"


async def test_nothing_else_is_applied_during_a_trial(it: Bench) -> None:
    await on_trial(it)
    with pytest.raises(ConfirmationPending, match="revision 2 of the configuration is on trial"):
        await it.reloads.apply(OLD, trigger="signal", actor="SIGHUP")
    assert it.followed.log.level == "debug"
    back = await it.reloads.roll_back(actor="jane")
    assert (back.result, it.reloads.trial) == ("rolled back", None)
    it.timer.ring()
    await settled()
    assert it.states == [(1, OLD, "good"), (2, NEW, "rolled back"), (3, OLD, "good")]


async def test_a_trial_may_end_well_by_itself_where_nothing_is_complained_of(it: Bench) -> None:
    await on_trial(it, keep_if_healthy=True)
    assert (await rolled_back(it)).result == "confirmed"
    assert it.states[-1] == (2, NEW, "good")


async def test_and_not_where_something_is(it: Bench) -> None:
    it.failed_checks = ["canister chat is not polled", "the loop is late"]
    await on_trial(it, keep_if_healthy=True)
    assert (await rolled_back(it)).result == "rolled back"
    assert it.reloads.history[2].problem == "not healthy: canister chat is not polled; the loop is late"


async def test_health_does_not_confirm_where_it_was_not_asked(it: Bench) -> None:
    await on_trial(it)
    assert (await rolled_back(it)).result == "rolled back"


async def test_what_cannot_be_rolled_back_at_once_is_tried_again(it: Bench) -> None:
    await on_trial(it)
    it.parts[0].errors["prepare"] = OSError("the address is taken")
    failed = await rolled_back(it)
    assert (failed.result, failed.revision, failed.problem) == ("rejected", 2, "the address is taken")
    assert it.reloads.trial is not None
    assert it.timer.asked == [60, RETRY_S]
    assert (await rolled_back(it)).result == "rolled back"
    assert it.followed.log.level == "info"


async def test_a_trial_that_ends_with_the_process_was_not_confirmed(tmp_path: Path) -> None:
    async with bench(tmp_path / "gateway.yaml", OLD) as it:
        it.write(NEW)
        await on_trial(it)
    async with it.make() as again:
        assert again.config.log.level == "info"
        assert again.revision == 1
        assert it.states == [(1, OLD, "good"), (2, NEW, "rolled back")]
        assert await again.differs_from_file()
        assert (await again.apply(trigger="signal", actor="SIGHUP")).result == "applied"
    async with it.make() as again:
        assert (again.config.log.level, again.revision) == ("debug", 3)


async def refused_by_trial(it: Bench) -> ConfirmationPending:
    error = (await it.reloads.attempt(trigger="watch", actor="watch")).error
    assert isinstance(error, ConfirmationPending)
    return error


@pytest.mark.parametrize(("text", "differs"), [("log: {level: error}\n", True), (NEW, False)])
async def test_a_file_that_changes_during_a_trial_is_due_after_it_unless_the_trial_has_judged_it(
    it: Bench, text: str, differs: bool
) -> None:
    await on_trial(it)
    it.write(text)
    error = await refused_by_trial(it)
    waiting = asyncio.create_task(it.reloads.differs_after_trial(error.revision))
    await settled()
    assert not waiting.done()
    assert (await rolled_back(it)).result == "rolled back"
    assert await waiting is differs
    assert await it.reloads.differs_after_trial(error.revision) is differs, "although it ended before it was waited for"


# --- back -------------------------------------------------------------------------------------------------------------


async def test_any_generation_can_be_run_again(it: Bench) -> None:
    await reload(it, NEW)
    await reload(it, "log: {level: error}\n")
    outcome = await it.reloads.roll_back(1, actor="jane")
    assert (outcome.result, outcome.revision, it.followed.log.level) == ("rolled back", 4, "info")
    assert [state for _, _, state in it.states] == ["good", "good", "rolled back", "good"]
    assert it.reloads.history[3].problem == "taken back by jane"
    with pytest.raises(RevisionUnknown, match="revision 9 "):
        await it.reloads.roll_back(9, actor="jane")
    assert (await it.reloads.roll_back(4, actor="jane")).result == "unchanged"


async def test_without_a_number_it_is_the_last_good_one_that_differs(it: Bench) -> None:
    with pytest.raises(NothingToRollBackTo):
        await it.reloads.roll_back(actor="jane")
    await reload(it, NEW)
    await reload(it, "log: {level: error}\n")
    levels = []
    for _ in range(2):
        await it.reloads.roll_back(actor="jane")
        levels.append(it.followed.log.level)
    assert levels == ["debug", "info"]
    with pytest.raises(NothingToRollBackTo):
        await it.reloads.roll_back(actor="jane")


async def test_a_rollback_asks_for_neither_force_nor_restart(it: Bench) -> None:
    it.sessions[CHAT] = 1
    it.write(RESTART + CANISTERS)
    await it.reloads.apply(trigger="api", actor="jane", allow_restart=True)
    assert (await it.reloads.roll_back(actor="jane")).result == "rolled back"
    assert it.reloads.pending_restart == ()
    assert it.followed.canisters == []


async def test_a_rollback_outlasts_a_restart_until_the_file_is_changed(tmp_path: Path) -> None:
    async with bench(tmp_path / "gateway.yaml", OLD) as it:
        await reload(it, NEW)
        await it.reloads.roll_back(actor="jane")
    async with it.make() as again:
        assert (again.config.log.level, again.revision) == ("info", 3)
    it.write(NEW + "# now\n")
    async with it.make() as again:
        assert (again.config.log.level, again.revision) == ("debug", 4)


async def test_a_restart_of_what_runs_is_the_same_generation(tmp_path: Path) -> None:
    async with bench(tmp_path / "gateway.yaml", OLD) as it:
        etag = (await reload(it, NEW), it.reloads.etag)[1]
    async with it.make() as again:
        assert again.etag == etag
        assert replace(it.told[-1], at_ns=0) == Outcome("started", 2, 0, "start", "start")


async def test_as_many_are_kept_as_the_configuration_says(it: Bench) -> None:
    for keep in (3, 2):
        await reload(it, f"control: {{keep: {keep}}}\n")
        for level in ("debug", "error", "warning"):
            await reload(it, f"control: {{keep: {keep}}}\nlog: {{level: {level}}}\n")
        assert len(it.reloads.history) == keep


async def test_a_file_system_that_hangs_delays_no_status_and_takes_one_thread(
    it: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_difference, "SHOWN_WITHIN_S", 0.01)
    gate, reads = threading.Event(), list[Source]()

    def hang(source: Source) -> None:
        reads.append(source)
        gate.wait(30)

    monkeypatch.setattr(Source, "hash", hang)
    try:
        assert [await it.reloads.differs_from_file() for _ in range(10)] == [True] * 10
    finally:
        gate.set()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    assert len(reads) == 1
