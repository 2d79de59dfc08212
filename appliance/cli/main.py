"""``icws``: the group of all commands. A command's module is imported when it is asked for."""

from importlib import import_module
from importlib.metadata import version

import click
from click.shell_completion import CompletionItem

from appliance.cli.exits import EXIT_CONFIG, EXIT_INTERRUPTED
from appliance.errors import ConfigError, GatewayError

SECTIONS = {
    "operate": {
        "run": "Run the gateway.",
        "doctor": "Find out what is wrong with a gateway or a canister.",
        "status": "Show the gateway at a glance.",
        "canisters": "List canisters; pause, resume, add or remove one.",
        "sessions": "List who is connected.",
        "explain": "Tell what happened in a session.",
        "limits": "Show who is being limited.",
        "plugins": "List the plugins.",
        "events": "Print what happens, as it happens.",
        "audit": "List who has changed what.",
        "metrics": "Print the metrics for Prometheus.",
        "close": "Close sessions.",
        "drain": "Let clients go at a pace.",
        "log": "Log more or less.",
        "tokens": "Say who may use the API over TCP.",
    },
    "configure": {
        "check": "Check a configuration.",
        "config": "Show, explain and document the configuration.",
        "identity": "Make, show or take over the key of the gateway.",
        "plan": "Show what a reload would change.",
        "reload": "Run what the file says now.",
        "confirm": "Keep what was applied on trial.",
        "rollback": "Run an earlier configuration again.",
        "history": "List, show and compare configurations.",
    },
    "develop": {
        "demo": "See a conversation pass through a gateway, on one machine.",
        "localnet": "Run a local IC.",
        "connect": "Talk to a canister through a gateway.",
        "cert": "Look into certificates.",
        "completion": "Print what makes a shell complete commands.",
    },
}
"""The commands of each folder beside this module and their sentences, in the order of help."""

TITLES = {"operate": "Operate a gateway", "configure": "Configure it", "develop": "Develop a canister or client"}
COMMANDS = {name: sentence for commands in SECTIONS.values() for name, sentence in commands.items()}
_FOLDERS = {name: folder for folder, commands in SECTIONS.items() for name in commands}


class Commands(click.Group):
    """Imports a command late, and turns our errors into a sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: D102
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: D102
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"appliance.cli.{_FOLDERS[cmd_name]}.{cmd_name}"), cmd_name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(  # noqa: D102
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            close = _close_to(args[0])
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The names alone: what is proposed need not be imported."""
        names = [CompletionItem(name, help=COMMANDS[name]) for name in COMMANDS if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: D102
        widest = max(map(len, COMMANDS))
        for folder, commands in SECTIONS.items():
            with formatter.section(TITLES[folder]):
                formatter.write_dl([(f"{name:<{widest}}", sentence) for name, sentence in commands.items()])

    def invoke(self, ctx: click.Context) -> object:  # noqa: D102
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(str(error), err=True)
            ctx.exit(EXIT_CONFIG)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(EXIT_INTERRUPTED)
        except BrokenPipeError:  # `icws … | head` has seen enough; click ends quietly
            raise
        except (GatewayError, OSError) as error:
            raise click.ClickException(str(error)) from error


def _close_to(name: str) -> list[str]:
    from difflib import get_close_matches  # noqa: PLC0415 - for the one who mistypes

    return get_close_matches(name, COMMANDS, n=2)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("icws"), prog_name="icws")
def main() -> None:
    """A gateway that holds WebSockets for canisters of the Internet Computer."""
