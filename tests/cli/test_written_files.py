"""Files that commands write for their users: whole, or not there."""

import ast
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main
from appliance.cli.output.text_file import write_text
from appliance.ic.key_file import create_identity
from tests.test_layers import SOURCES

FILE = "written"
COMMANDS = {
    "support-dump": ["support-dump", "--output", FILE],
    "compat": ["compat", "--output", FILE],
    "identity new": ["identity", "new", FILE],
    "identity import": ["identity", "import", "../key.pem", FILE],
}
WRITING = {"write_bytes", "mkstemp", "NamedTemporaryFile"}
NOTHING_FITS, HALF_FITS = 0, 40
"""Bytes of a file that the disk takes."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty, with a key beside it."""
    create_identity(tmp_path / "key.pem")
    made = tmp_path / "folder"
    made.mkdir()
    monkeypatch.chdir(made)
    return made


def icws(arguments: list[str]) -> Result:
    return CliRunner(env={"ICWS_SOCKET": "nobody.sock"}).invoke(main, arguments)


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file gets longer, here and in processes that start meanwhile."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("room", [NOTHING_FITS, HALF_FITS])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_leaves_no_part_of_a_file_and_is_named(folder: Path, command: str, room: int) -> None:
    with full_disk(room):
        done = icws(COMMANDS[command])
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("Error: ")
    assert FILE in done.stderr
    assert "File too large" in done.stderr
    assert os.listdir(folder) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_there_is_not_overwritten(folder: Path, command: str) -> None:
    (folder / FILE).write_text("mine")
    done = icws(COMMANDS[command])
    assert done.exit_code == 1
    assert f"{FILE}: File exists" in done.stderr or f"{FILE} exists already" in done.stderr
    assert (os.listdir(folder), (folder / FILE).read_text()) == ([FILE], "mine")


def test_a_page_that_does_not_fit_leaves_the_earlier_one(folder: Path) -> None:
    (folder / FILE).write_text("earlier")
    (folder / "link").symlink_to(FILE)
    with full_disk(HALF_FITS), pytest.raises(OSError, match="File too large"):
        write_text(folder / "link", 2 * HALF_FITS * "x")
    assert (sorted(os.listdir(folder)), (folder / FILE).read_text()) == (["link", FILE], "earlier")
    write_text(folder / "link", "next")
    assert ((folder / "link").is_symlink(), (folder / FILE).read_text()) == (True, "next")


def test_a_page_is_written_to_a_device(folder: Path) -> None:
    write_text(Path(os.devnull), "text")
    assert Path(os.devnull).is_char_device()


def calls(module: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(SOURCES[module].read_text())) if isinstance(node, ast.Call))


def writes_in_place(call: ast.Call) -> bool:
    """Whether it opens a file to write to it, by any of the ways that leave half a file on a full disk.

    A log, which is appended to, is never whole.
    """
    text = ast.unparse(call)
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    modes = {word.value for word in ast.walk(call) if isinstance(word, ast.Constant)} & {"w", "x", "wb", "xb"}
    return (
        name in WRITING
        or (name == "write_text" and isinstance(call.func, ast.Attribute))
        or (name == "open" and "fileobj=" not in text and (bool(modes) or "O_CREAT" in text))
    )


def test_no_command_writes_files_in_another_way() -> None:
    ours = [name for name in SOURCES if name.startswith("appliance.cli")]
    found = [f"{module}:{call.lineno}" for module in ours for call in calls(module) if writes_in_place(call)]
    assert found == []
