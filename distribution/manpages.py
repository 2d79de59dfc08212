"""Manual pages, made from the commands. Run as a program they are written, with the completions, into a folder."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from inspect import cleandoc
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from appliance.cli.main import GROUPS, main

COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/icws",
    "zsh": "usr/share/zsh/vendor-completions/_icws",
    "fish": "usr/share/fish/vendor_completions.d/icws.fish",
}
"""Where each shell looks for the completions of packages."""
_FILES = """\
.TP
.I /etc/icws/gateway.yaml
The configuration of the installed service.
.TP
.I /var/lib/icws
Key, journal and revisions of the installed service.
"""


def pages(version: str, *, day: str) -> dict[str, str]:
    """The text of each page by its name: ``icws.1`` and one for each command, such as ``icws-config-show.1``."""
    root = click.Context(main, info_name="icws")
    found = {"icws.1": _overview(root, version, day)}
    for context in _commands(root):
        found[f"{_dashed(context)}.1"] = _page(context, version, day)
    return found


def _commands(context: click.Context) -> Iterator[click.Context]:
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is not None and not command.hidden:
                below = click.Context(command, parent=context, info_name=name)
                yield below
                yield from _commands(below)


def _overview(root: click.Context, version: str, day: str) -> str:
    text = [*_begin(root, version, day), ".SH COMMANDS"]
    for title, commands in GROUPS.items():
        text.append(f".SS {_escape(title)}")
        text += [line for name, (_, sentence) in commands.items() for line in _entry(f"icws-{name}", sentence)]
    return "\n".join([*text, ".SH FILES", _FILES])


def _page(context: click.Context, version: str, day: str) -> str:
    text = _begin(context, version, day)
    if isinstance(context.command, click.Group):
        text.append(".SH COMMANDS")
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            sentence = command.get_short_help_str(limit=200) if command is not None else ""
            text += _entry(f"{_dashed(context)}-{name}", sentence)
    if context.command.epilog:
        text += [".SH EXAMPLES", _paragraphs(context.command.epilog)]
    return "\n".join([*text, ".SH SEE ALSO", ".BR icws (1)", ""])


def _begin(context: click.Context, version: str, day: str) -> list[str]:
    """Every section that all pages have."""
    usage = " ".join(context.command.collect_usage_pieces(context))
    text = [_head(context, version, day), ".SH SYNOPSIS", f".B {_escape(context.command_path)}", _escape(usage)]
    text += [".SH DESCRIPTION", _paragraphs(context.command.help or ""), ".SH OPTIONS"]
    for parameter in context.command.get_params(context):
        option, explanation = parameter.get_help_record(context) or ("", "")
        if explanation:
            text += [".TP", f"\\fB{_escape(option)}\\fP", _escape(explanation)]
    return text


def _entry(page: str, sentence: str) -> list[str]:
    return [".TP", f".BR {_escape(page)} (1)", _escape(sentence)]


def _head(context: click.Context, version: str, day: str) -> str:
    name = _escape(_dashed(context))
    summary = _escape(context.command.get_short_help_str(limit=200).rstrip("."))
    return f'.TH "{name.upper()}" "1" "{day}" "icws {version}" "User Commands"\n.SH NAME\n{name} \\- {summary}'


def _paragraphs(text: str) -> str:
    """Paragraphs; click keeps the lines of those that begin with a backspace character."""
    lines = []
    for paragraph in cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            lines += [".PP", ".nf", _escape(paragraph.removeprefix("\b\n")), ".fi"]
        else:
            lines += [".PP", _escape(" ".join(paragraph.split()))]
    return "\n".join(lines)


def _dashed(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _escape(text: str) -> str:
    """Text that troff prints as it is: a dot or quote that begins a line is a request, a bare dash a hyphen."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in escaped.splitlines())


def completion(shell: str) -> str:
    """The completion script of a shell."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click knows the shells of COMPLETIONS
    return kind(main, {}, "icws", "_ICWS_COMPLETE").source()


def write(folder: Path, version: str, *, epoch: int) -> None:
    """Write pages and completions below a folder that stands for the root. Raises OSError."""
    manual = folder / "usr" / "share" / "man" / "man1"
    manual.mkdir(parents=True, exist_ok=True)
    day = datetime.fromtimestamp(epoch, UTC).date().isoformat()
    for name, text in pages(version, day=day).items():
        (manual / name).write_text(text, encoding="utf-8")
    for shell, place in COMPLETIONS.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(completion(shell), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2], epoch=int(sys.argv[3]))
