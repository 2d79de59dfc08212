"""Lines as commands make them, without their style."""

import click

from appliance.cli.output import terminal


def unstyled(line: str) -> str:
    return click.unstyle(line.replace(terminal._ESC, "\x1b"))
