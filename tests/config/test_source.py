import os
import stat
from pathlib import Path

import pytest

from appliance.config.history import History, hash_of
from appliance.config.source import Source, start
from appliance.errors import ConfigError

OLD = "log: {level: error}\n"
NEW = "log: {level: debug}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(OLD)
    return path


def history_of(file: Path) -> History:
    return History(file.parent / "data" / "history", keep=50)


def test_a_source_reads_the_file_anew_each_time(file: Path) -> None:
    source = Source(file, {"ICWS_LOG__FORMAT": "json"}, ["polling.timeout=1s"])
    first = source.load()
    file.write_text(NEW)
    second = source.load()
    assert (first.config.log.level, second.config.log.level, second.config.log.format) == ("error", "debug", "json")
    assert (first.text, second.text) == (OLD, NEW)
    assert source.hash() == hash_of(NEW)
    assert second.origins["log.level"] == f"{file}:1:14"


def test_another_text_is_read_as_if_it_were_in_the_file(file: Path) -> None:
    source = Source(file, settings=["polling.timeout=1s"])
    assert source.load(NEW).origins["log.level"] == "text:1:14"
    assert source.load(NEW).config.polling.timeout == 1.0
    with pytest.raises(ConfigError, match=r"^revision 7:1:6: log: must be a section"):
        source.load("log: 5\n", name="revision 7")


def test_a_source_without_a_file_has_the_defaults() -> None:
    source = Source(None)
    assert source.load().config.version == 1
    assert source.load(source.read()).config == source.load().config
    with pytest.raises(ConfigError, match="there is no file"):
        source.save(NEW)


@pytest.mark.parametrize(
    "text", ["", "\n", "   \n\n", "# all of it is commented out\n", "log: {level: err", "log:\n  level: err"]
)
def test_an_empty_or_truncated_file_is_not_an_empty_configuration(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"^{file}"):
        Source(file).load()


def test_what_cannot_be_read_has_no_hash(file: Path) -> None:
    file.write_bytes(b"\xff")
    assert Source(file).hash() is None
    file.unlink()
    assert Source(file).hash() is None


def test_saving_keeps_the_mode_and_what_a_link_leads_to(file: Path) -> None:
    link = file.parent / "link.yaml"
    link.symlink_to(file.name)
    file.chmod(0o640)
    Source(link).save(NEW)
    assert link.is_symlink()
    assert file.read_text() == NEW
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(os.listdir(file.parent)) == ["gateway.yaml", "link.yaml"]


def test_saving_that_fails_leaves_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no"):
        Source(file).save(NEW)
    assert file.read_text() == OLD
    assert os.listdir(file.parent) == ["gateway.yaml"]


def test_a_first_start_runs_the_file(file: Path) -> None:
    begun = start(Source(file))
    assert (begun.loaded.text, begun.record, begun.warnings) == (OLD, None, [])
    assert begun.history.folder == file.parent / "data" / "history"


def test_a_start_after_a_crash_in_an_apply_runs_the_last_good_one(file: Path) -> None:
    history = history_of(file)
    history.add(OLD, "good", at_ns=1, actor="a", trigger="start", file_hash=hash_of(OLD))
    history.add(NEW, "candidate", at_ns=2, actor="a", trigger="signal", file_hash=hash_of(NEW))
    history.write()
    file.write_text(NEW)
    begun = start(Source(file, settings=["polling.timeout=1s"]))
    assert begun.loaded.config.log.level == "error"
    assert begun.loaded.config.polling.timeout == 1.0
    assert begun.loaded.origins["log.level"] == "revision 1:1:14"
    assert begun.record == begun.history[1]
    assert len(begun.warnings) == 1
    assert "revision 2, whose apply was never finished: revision 1 is used instead" in begun.warnings[0]


def test_a_revision_that_cannot_be_used_any_more_is_not_run(file: Path) -> None:
    history = history_of(file)
    history.add("gone: 1\n", "good", at_ns=1, actor="a", trigger="api", file_hash=hash_of(OLD))
    history.write()
    begun = start(Source(file))
    assert (begun.loaded.text, begun.record) == (OLD, None)
    assert "revision 1:1:1: gone: unknown key" in begun.warnings[-1]


def test_a_file_that_cannot_be_used_is_an_error_whatever_ran_before(file: Path) -> None:
    history = history_of(file)
    history.add(OLD, "good", at_ns=1, actor="a", trigger="start", file_hash=hash_of(OLD))
    history.write()
    file.write_text("log: 5\n")
    with pytest.raises(ConfigError, match=f"^{file}:1:6: log: "):
        start(Source(file))


def test_damage_in_the_history_is_told(file: Path) -> None:
    history = history_of(file)
    history.add(OLD, "good", at_ns=1, actor="a", trigger="start")
    history.write()
    assert history.folder is not None
    (history.folder / "000001.json").write_text("{")
    begun = start(Source(file))
    assert begun.record is None
    assert "000001.json is left out of the history" in begun.warnings[0]


def test_a_history_that_cannot_be_used_has_a_place_and_a_key(file: Path) -> None:
    (file.parent / "taken").write_text("a file")
    file.write_text("control:\n  history: taken\n")
    with pytest.raises(
        ConfigError, match=rf"^{file}:2:12: control\.history: {file.parent}/taken cannot be used: Not a dir"
    ):
        start(Source(file))
