import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.history import History, Record, State, hash_of
from appliance.errors import RevisionUnknown

STATES: list[State] = ["candidate", "good", "rejected", "rolled back"]
FOLDERS = pytest.mark.parametrize("on_disk", [True, False])


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., History]:
    def open_(*, on_disk: bool = True, keep: int = 50) -> History:
        return History(tmp_path / "data" / "history" if on_disk else None, keep=keep)

    return open_


def add(history: History, text: str, state: State = "good", file: str | None = None) -> Record:
    record = history.add(text, state, at_ns=1, actor="me", trigger="api", file_hash=hash_of(file or text))
    history.write()
    return record


def mark(history: History, revision: int, state: State, problem: str | None = None) -> Record:
    record = history.mark(revision, state, problem)
    history.write()
    return record


@FOLDERS
def test_revisions_count_up_and_are_found(opened: Callable[..., History], on_disk: bool) -> None:
    history = opened(on_disk=on_disk)
    assert [add(history, text).revision for text in "abc"] == [1, 2, 3]
    assert history[2].text == "b"
    assert [record.text for record in history] == ["c", "b", "a"]
    with pytest.raises(RevisionUnknown, match="revision 4 "):
        history[4]


def test_what_is_on_disk_is_what_was_written(opened: Callable[..., History]) -> None:
    history = opened()
    add(history, "é: \r\n\ufeff", "candidate")
    mark(history, 1, "rejected", "it is no configuration")
    add(history, "b")
    assert list(opened()) == list(history)
    assert opened()[1].problem == "it is no configuration"


def test_files_name_the_number_as_every_release_did(opened: Callable[..., History]) -> None:
    """A gateway that is updated, or taken back to an older release, reads the history of the other."""
    history = opened()
    record = add(history, "a")
    assert history.folder is not None
    written = json.loads((history.folder / "000001.json").read_text())
    fields = {"generation", "text", "state", "at_ns", "actor", "trigger", "file_hash", "problem", "hash"}
    assert set(written) == fields
    assert written["generation"] == record.revision == 1


def test_nobody_else_can_read_it(opened: Callable[..., History]) -> None:
    history = opened()
    add(history, "a")
    mark(history, 1, "rejected")
    assert history.folder is not None
    assert stat.S_IMODE(history.folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in history.folder.iterdir()] == [0o600]


@FOLDERS
def test_the_last_good_one(opened: Callable[..., History], on_disk: bool) -> None:
    history = opened(on_disk=on_disk)
    assert history.good() is None
    for text, state in [("a", "good"), ("b", "good"), ("c", "rejected"), ("d", "candidate")]:
        add(history, text, state)
    assert history.good() == history[2]


@given(st.lists(st.sampled_from(STATES), max_size=30), st.integers(2, 6))
def test_at_most_so_many_are_kept_and_always_what_may_be_needed(states: list[State], keep: int) -> None:
    history = History(None, keep=keep)
    kept_good = 0
    for state in states:
        record = add(history, "x", state)
        kept_good = record.revision if state == "good" else kept_good
        assert len(history) <= keep
        assert next(iter(history)) == record
        assert not kept_good or history.good() == history[kept_good]


def test_what_was_rejected_goes_first_and_files_go_too(opened: Callable[..., History]) -> None:
    history = opened(keep=3)
    for text, state in [("a", "good"), ("b", "rejected"), ("c", "good"), ("d", "rejected"), ("e", "good")]:
        add(history, text, state)
    assert [record.text for record in history] == ["e", "c", "a"]
    assert [record.text for record in opened(keep=3)] == ["e", "c", "a"]
    assert add(opened(keep=3), "f").revision == 6


@given(cut=st.floats(0, 1, exclude_max=True), junk=st.binary(max_size=5))
def test_a_damaged_file_costs_one_revision_and_is_complained_of(
    tmp_path_factory: pytest.TempPathFactory, cut: float, junk: bytes
) -> None:
    folder = tmp_path_factory.mktemp("history")
    history = History(folder, keep=9)
    add(history, "a")
    add(history, "b")
    file = folder / "000002.json"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * cut)] + junk)
    again = History(folder, keep=9)
    assert [record.text for record in again] == ["a"]
    assert [complaint.split(" is left out")[0] for complaint in again.complaints] == [str(file)]
    assert add(again, "c").revision == 3


@pytest.mark.parametrize(
    "change", [{"text": "c"}, {"generation": 3}, {"state": "perfect"}, {"more": 1}, {"hash": None}], ids=str
)
def test_a_file_that_says_something_else_is_damaged(opened: Callable[..., History], change: dict[str, object]) -> None:
    history = opened()
    add(history, "a")
    assert history.folder is not None
    file = history.folder / "000001.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert len(opened()) == 0
    assert len(opened().complaints) == 1


def test_what_a_crash_left_of_a_write_is_removed(opened: Callable[..., History]) -> None:
    history = opened()
    add(history, "a")
    assert history.folder is not None
    (history.folder / ".000002.json.x.tmp").write_text("half")
    (history.folder / "notes.txt").write_text("of somebody")
    assert [record.text for record in opened()] == ["a"]
    assert sorted(file.name for file in history.folder.iterdir()) == ["000001.json", "notes.txt"]


@FOLDERS
def test_a_revision_that_cannot_be_written_is_in_memory_and_written_with_the_next(
    opened: Callable[..., History], on_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = opened(on_disk=on_disk)
    add(history, "a")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert add(history, "b", "candidate").revision == 2
    mark(history, 2, "good")
    assert [record.text for record in history] == ["b", "a"]
    if not on_disk:
        assert history.not_kept(2) is None
        return
    assert history.folder is not None
    assert history.not_kept(2) == f"{history.folder / '000002.json'}: No space left on device"
    assert history.not_kept(1) is None
    assert [record.text for record in opened()] == ["a"]
    monkeypatch.undo()
    add(history, "c")
    assert history.not_kept(2) is None
    assert list(opened()) == list(history)


def test_what_changes_during_a_write_is_written_by_it(
    opened: Callable[..., History], monkeypatch: pytest.MonkeyPatch
) -> None:
    history = opened(keep=2)

    def change_meanwhile(descriptor: int) -> None:
        monkeypatch.undo()
        assert "not written yet" in (history.not_kept(1) or "")
        history.mark(1, "good")
        for text in "bcd":
            history.add(text, "good", at_ns=2, actor="me", trigger="api")

    monkeypatch.setattr("os.fsync", change_meanwhile)
    add(history, "a", "candidate")
    assert list(opened(keep=2)) == list(history)
    assert [record.text for record in history] == ["d", "c"]
    assert [history.not_kept(record.revision) for record in history] == [None, None]


def test_what_is_in_use_stays_however_many_are_kept(opened: Callable[..., History]) -> None:
    history = opened(keep=2)
    add(history, "good")
    add(history, "on trial", "candidate")
    history.in_use = {2}
    for number in range(3):
        add(history, f"failed {number}", "rejected")
    assert history[2].text == opened(keep=2)[2].text == "on trial"
    assert mark(history, 2, "good").state == "good"


# --- what is run at a start -------------------------------------------------------------------------------------------


def choice(text: str, *before: tuple[str, State, str]) -> tuple[str, int | None, bool]:
    """What is run of this file after revisions of a text, a state and what the file said, and if that is told."""
    history = History(None, keep=50)
    for its_text, state, file in before:
        add(history, its_text, state, file)
    chosen = history.choose(text)
    return chosen.text, chosen.record and chosen.record.revision, chosen.warning is not None


def test_the_file_is_run_where_nothing_speaks_against_it() -> None:
    assert choice("a") == ("a", None, False)
    assert choice("a", ("a", "good", "a")) == ("a", 1, False)
    assert choice("b", ("a", "good", "a")) == ("b", None, False)
    assert choice("a", ("a", "candidate", "a")) == ("a", None, False)


def test_a_file_whose_apply_was_never_finished_or_was_taken_back_is_not_run() -> None:
    assert choice("b", ("a", "good", "a"), ("b", "candidate", "b")) == ("a", 1, True)
    assert choice("b", ("a", "good", "a"), ("b", "rolled back", "b")) == ("a", 1, True)


def test_it_is_run_once_it_was_good_or_is_another_one() -> None:
    before: list[tuple[str, State, str]] = [("a", "good", "a"), ("b", "candidate", "b")]
    assert choice("b", *before, ("b", "good", "b")) == ("b", 3, False)
    assert choice("c", *before) == ("c", None, False)
    assert choice("b", ("a", "good", "a"), ("b", "rejected", "b")) == ("b", None, False)


def test_what_took_the_place_of_the_file_is_run_until_the_file_changes() -> None:
    before: list[tuple[str, State, str]] = [("a", "good", "a"), ("b", "good", "a")]
    assert choice("a", *before) == ("b", 2, True)
    assert choice("c", *before) == ("c", None, False)
    assert choice("a", *before, ("c", "candidate", "a")) == ("b", 2, True)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(STATES), st.sampled_from("abc"))), st.sampled_from("abc")
)
def test_what_is_run_is_the_file_or_the_last_good_one_and_only_that_is_warned_of(
    before: list[tuple[str, State, str]], text: str
) -> None:
    run, revision, is_warned = choice(text, *before)
    goods = [number for number, (_, state, _) in enumerate(before, 1) if state == "good"]
    assert run == text or run == before[goods[-1] - 1][0]
    assert revision in (None, *goods[-1:])
    assert is_warned == (run != text)
