import subprocess
from pathlib import Path

import click
import pytest

from appliance.cli.main import COMMANDS, main
from distribution import manpages
from tests.needs import program


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    manpages.write(folder, "1.2.3", epoch=1_700_000_000)
    return folder


def test_every_command_has_a_page(folder: Path) -> None:
    names = {path.stem for path in (folder / "usr/share/man/man1").iterdir()}
    assert {"icws", *(f"icws-{name}" for name in COMMANDS), "icws-config-show"} <= names


def test_a_page_has_every_option_and_argument_that_help_explains(folder: Path) -> None:
    for path in (folder / "usr/share/man/man1").iterdir():
        text = path.read_text().replace("\\-", "-")
        assert text.startswith(f'.TH "{path.stem.upper()}" "1" "2023-11-14" "icws 1.2.3"')
        assert ".SH DESCRIPTION" in text
        assert "\x08" not in text
    text = (folder / "usr/share/man/man1/icws-run.1").read_text().replace("\\-", "-")
    context = click.Context(main, info_name="icws")
    run = main.get_command(context, "run")
    assert run is not None
    for parameter in run.params:
        assert all(option in text for option in parameter.opts)


def test_man_has_nothing_to_say_against_them(folder: Path) -> None:
    for path in sorted((folder / "usr/share/man/man1").iterdir()):
        command = [program("groff"), "-man", "-Tutf8", "-ww", "-z", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        assert done.stderr == ""


@pytest.mark.parametrize("text", [".request", "'request", "a\n.b", "back\\slash", "--option"])
def test_text_is_printed_as_it_is(text: str) -> None:
    page = f".TH X 1\n.nf\n{manpages._escape(text)}\n"
    done = subprocess.run(  # noqa: S603
        [program("groff"), "-man", "-Tascii", "-P-cbou"], input=page, capture_output=True, text=True, check=True
    )
    assert [line.strip() for line in done.stdout.splitlines() if line.strip()][1:-1] == text.split("\n")


def test_each_shell_finds_its_completion(folder: Path) -> None:
    for place in manpages.COMPLETIONS.values():
        assert "_ICWS_COMPLETE" in (folder / place).read_text()
    assert (folder / manpages.COMPLETIONS["zsh"]).read_text().startswith("#compdef icws\n")
