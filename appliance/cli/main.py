"""``icws``: the group of all commands. A command's module is imported when it is asked for."""

from importlib import import_module
from importlib.metadata import version

import click

from appliance.errors import ConfigError, GatewayError

COMMANDS = {
    "run": "Run the gateway.",
    "check": "Check a configuration.",
    "demo": "See a conversation pass through a gateway, on this machine alone.",
    "connect": "Talk to a canister through a gateway.",
    "localnet": "Run a local IC.",
    "identity": "Make, show or take over the key of the gateway.",
    "cert": "Look into certificates.",
}
"""Every command and its sentence, in the order of help."""

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: starting again does not help."""

EXIT_INTERRUPTED = 130
"""What shells say of a program that Ctrl-C ended."""


class Commands(click.Group):
    """Imports a command late, and turns our errors into a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: D102
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: D102
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"appliance.cli.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: D102
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> object:  # noqa: D102
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(str(error), err=True)
            ctx.exit(EXIT_CONFIG)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(EXIT_INTERRUPTED)
        except (GatewayError, OSError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("icws"), prog_name="icws")
def main() -> None:
    """A gateway that holds WebSockets for canisters of the Internet Computer."""
