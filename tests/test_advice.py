"""No text of the product has anybody install a name of ours from a public index, where it may be somebody else's."""

import re
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
NAMES = r"(?:icws|icws-reconnect|appliance)"
BARE = re.compile(
    rf"(?:pip3?|pipx|uv|uvx|npm|yarn|pnpm|cargo|brew|apt|apt-get)\s+(?:pip\s+)?(?:install|add|i|run)\s[^\n`|;&)]*?"
    rf"(?<![\w./-])['\"]?{NAMES}(?:\[[\w,]*\])?(?:[=<>~@!]+[\w.]+)?['\"]?(?=$|[\s`'\").,;])",
    re.MULTILINE,
)
TEXTS = (".py", ".pyi", ".md", ".sh", ".rs", ".ts", ".html", ".js", ".yaml", ".yml", ".toml", ".service", ".conf", "")


def texts() -> list[Path]:
    listed = subprocess.run(  # noqa: S603
        ["git", "-C", str(TOP), "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    files = (TOP / name for name in listed)
    return [file for file in files if file.suffix in TEXTS and file.is_file() and file != Path(__file__)]


def test_no_text_has_a_name_of_ours_installed_from_an_index() -> None:
    found = [f"{file.relative_to(TOP)}: {match[0]}" for file in texts() for match in BARE.finditer(file.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "pip install icws",
        "pip install 'icws[otel]'",
        "pip install -U icws==1.0",
        "npm install icws-reconnect",
        "uv pip install icws",
    ],
)
def test_it_would_be_found(text: str) -> None:
    assert BARE.search(f"it is missing: {text}")


@pytest.mark.parametrize(
    "text",
    [
        "pip install 'icws-1.0.whl[otel]'",
        "pip install './icws[otel]'",
        "apt install ./icws_1.0_amd64.deb",
        "pip install '.[dev]'",
    ],
)
def test_files_and_folders_are_no_names(text: str) -> None:
    assert not BARE.search(text)
