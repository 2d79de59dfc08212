import asyncio
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.schema import Config
from appliance.control.auth import tokens as tokens_module
from appliance.control.auth.tokens import PREFIX, SETTLE_S, Grant, Tokens, hash_token, parse_tokens
from appliance.errors import ConfigError

ROLES = st.sampled_from(["viewer", "operator", "admin"])
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def write(file: Path, *grants: tuple[str, str, str]) -> None:
    """As a whole, so that it is another file each time."""
    beside = file.with_suffix(".new")
    beside.write_text("".join(f"{name} {role} {hash_token(token)}\n" for name, role, token in grants))
    beside.replace(file)


@given(st.dictionaries(NAMES, st.tuples(ROLES, st.binary()), max_size=5), st.integers(0, 5))
def test_what_is_written_is_read(found: dict[str, tuple[str, bytes]], blank: int) -> None:
    grants = [Grant(name, role, hash_token(token.hex())) for name, (role, token) in found.items()]
    lines = ["# tokens", *[""] * blank, *(f"  {grant}  # of somebody" for grant in grants)]
    assert parse_tokens("\n".join(lines), "tokens") == (grants, [])


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("ann viewer", "write a name, a role and the SHA-256"),
        ("ann viewer icws_secret", "the token itself does not belong here"),
        (f"ann root {'0' * 64}", "'root' is not a role"),
        (f"-ann viewer {'0' * 64}", "'-ann' is not a name"),
        (f"bob viewer {'0' * 64}", "the name bob appears twice"),
    ],
)
def test_a_wrong_line_gives_access_to_nobody_and_takes_it_from_nobody(line: str, problem: str) -> None:
    grants, problems = parse_tokens(f"bob admin {'a' * 64}\n{line}\neve viewer {'b' * 64}\n", "tokens")
    assert [str(grant) for grant in grants] == [f"bob admin {'a' * 64}", f"eve viewer {'b' * 64}"]
    assert [fault.place for fault in problems] == ["tokens:2"]
    assert problem in problems[0].problem


def test_only_the_hash_of_a_token_is_kept(file: Path) -> None:
    tokens = Tokens(file)
    token = tokens.add("ann", "operator")
    assert token.startswith(PREFIX)
    assert token not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    found = tokens.find(token)
    assert found is not None
    assert (found.name, found.role) == ("ann", "operator")
    assert tokens.find(token[:-1]) is None
    assert tokens.find(hash_token(token)) is None


def test_the_file_is_read_again_when_it_changes(file: Path) -> None:
    write(file, ("ann", "viewer", "one"))
    tokens = Tokens(file)
    assert tokens.find("one") is not None
    write(file, ("ann", "viewer", "two"))
    assert tokens.find("one") is None
    assert tokens.find("two") is not None
    file.unlink()
    assert tokens.find("two") is None


async def test_a_file_system_that_hangs_holds_up_no_loop_and_leaves_the_grants_as_they_were(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, ("ann", "viewer", "one"))
    tokens = Tokens(file)
    assert await tokens.lookup("one") is not None
    gate, state, looks = threading.Event(), tokens_module._state, list[Path | None]()

    def hang(path: Path | None) -> tuple[int, ...]:
        looks.append(path)
        assert gate.wait(30), "the event loop waits for the file"
        return state(path)

    monkeypatch.setattr(tokens_module, "_state", hang)
    monkeypatch.setattr(tokens_module, "WAIT_S", 0.01)
    with structlog.testing.capture_logs() as logged:
        assert [grant and grant.name for _ in range(3) for grant in [await tokens.lookup("one")]] == ["ann"] * 3
        assert [grant.name for grant in await tokens.grants()] == ["ann"]
    assert [line["event"] for line in logged] == ["tokens: the file is not read in time, those that were known count"]
    assert len(looks) == 1, "it takes one thread"
    write(file, ("ann", "viewer", "two"))
    monkeypatch.setattr(tokens_module, "WAIT_S", 30)
    gate.set()
    assert await tokens.lookup("two") is not None
    assert await tokens.lookup("one") is None


def test_a_file_that_is_written_in_place_counts_when_it_has_been_left_alone(file: Path) -> None:
    """The first half of a file must not lock out those in the second."""
    write(file, ("ann", "viewer", "one"), ("bob", "admin", "two"))
    now_s = file.stat().st_mtime
    tokens = Tokens(file, clock=lambda: now_s)
    assert tokens.find("two") is not None
    with file.open("r+") as stream:
        stream.truncate(20)
    now_s = file.stat().st_mtime + SETTLE_S / 2
    assert tokens.find("two") is not None
    now_s += SETTLE_S
    assert tokens.find("two") is None


def test_comments_stay_when_tokens_come_and_go(file: Path) -> None:
    file.write_text(f"# ours\nann viewer {hash_token('one')}  # of Ann\n")
    tokens = Tokens(file)
    tokens.add("bob", "admin")
    assert file.read_text().startswith(f"# ours\nann viewer {hash_token('one')}  # of Ann\nbob admin ")
    tokens.remove("bob")
    assert file.read_text() == f"# ours\nann viewer {hash_token('one')}  # of Ann\n"
    with pytest.raises(KeyError):
        tokens.remove("bob")
    with pytest.raises(ValueError, match="named ann already"):
        tokens.add("ann", "admin")


async def test_no_token_is_lost_when_several_are_made_at_once(file: Path) -> None:
    tokens = Tokens(file)
    made = await asyncio.gather(*(asyncio.to_thread(tokens.add, f"t{number}", "viewer") for number in range(20)))
    assert len({tokens.find(token) for token in made}) == 20


def test_without_a_file_nobody_gets_in_and_no_token_is_made() -> None:
    tokens = Tokens(None)
    tokens.check()
    assert tokens.find("") is None
    assert list(tokens) == []
    with pytest.raises(FileNotFoundError, match=r"control\.tokens"):
        tokens.add("ann", "viewer")


async def test_a_file_that_cannot_be_used_keeps_the_configuration_from_being_run(file: Path, tmp_path: Path) -> None:
    write(file, ("ann", "viewer", "one"))
    tokens = Tokens(file)
    other = tmp_path / "other"
    config = Config.model_validate({"control": {"tokens": other}})
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        await tokens.prepare(config)
    other.write_text("bob admin\n")
    with pytest.raises(ConfigError, match=rf"{other}:1: control\.tokens: write a name"):
        await tokens.prepare(config)
    write(other, ("bob", "admin", "two"))
    change = await tokens.prepare(config)
    assert tokens.find("two") is None
    change.commit()
    assert tokens.find("two") is not None
    assert tokens.find("one") is None


def make_absent(file: Path) -> None:
    """It was removed before."""


def make_a_folder(file: Path) -> None:
    file.mkdir()


def make_a_loop(file: Path) -> None:
    file.symlink_to(file)


def make_invalid(file: Path) -> None:
    file.write_text("ann viewer\n")


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (make_absent, "cannot be read: No such file"),
        (make_a_folder, "cannot be read: Is a directory"),
        (make_a_loop, "cannot be read: Too many levels of symbolic links"),
        (make_invalid, "write a name, a role and the SHA-256"),
    ],
)
def test_a_file_that_cannot_be_used_lets_nobody_in_and_is_logged_once(
    file: Path, break_it: Callable[[Path], None], problem: str
) -> None:
    write(file, ("ann", "viewer", "one"))
    tokens = Tokens(file, clock=lambda: time.time() + SETTLE_S)
    assert tokens.find("one") is not None
    file.unlink()
    break_it(file)
    with structlog.testing.capture_logs() as logged:
        assert [tokens.find("one"), tokens.find("one"), *tokens] == [None, None]
    (line,) = logged
    assert line["log_level"] == "warning"
    assert line["place"].startswith(str(file))
    assert line["problem"].startswith(problem)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is out of reach of root")
def test_a_file_out_of_reach_lets_nobody_in_and_is_logged(file: Path) -> None:
    write(file, ("ann", "viewer", "one"))
    file.chmod(0)
    with structlog.testing.capture_logs() as logged:
        assert Tokens(file).find("one") is None
    assert [line["problem"] for line in logged] == ["cannot be read: Permission denied"]
