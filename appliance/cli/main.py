"""``icws``: the group of all commands. A command's module is imported when the command is used."""

import errno
import gc
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from click.shell_completion import CompletionItem

from appliance.cli.exit_codes import EXIT_CONFIG, EXIT_INTERRUPTED
from appliance.cli.streams import abandon_broken_streams, prepare_streams
from appliance.cli.version import print_version
from appliance.errors import ConfigError, GatewayError
from appliance.printable import printable

GROUPS = {
    "Operate a gateway": {
        "run": ("operate.run", "Run the gateway."),
        "doctor": ("operate.doctor", "Diagnose a gateway, the network or a canister."),
        "status": ("operate.status", "Show the state of the gateway."),
        "canisters": ("operate.canisters", "List canisters; pause, resume, add or remove one."),
        "sessions": ("operate.sessions", "List the sessions."),
        "nodes": ("operate.nodes", "List the nodes of the cluster."),
        "workers": ("operate.workers", "List the worker processes; restart them one by one."),
        "explain": ("operate.events", "Explain what happened in a session."),
        "limits": ("operate.monitoring", "Show the rate limits and who is limited."),
        "plugins": ("operate.monitoring", "List the plugins."),
        "events": ("operate.events", "Print events as they happen."),
        "audit": ("operate.monitoring", "List changes and who made them."),
        "metrics": ("operate.monitoring", "Print the metrics in the Prometheus format."),
        "close": ("operate.sessions", "Close sessions."),
        "drain": ("operate.drain", "Close all sessions gradually."),
        "log": ("operate.monitoring", "Show or set the log level."),
        "outbound": ("operate.outbound", "Pass connections of a gateway without a network on to the IC."),
        "support-dump": ("operate.support_dump", "Write an archive with which others can help."),
        "tokens": ("operate.tokens", "Manage access to the API over TCP."),
    },
    "Configure it": {
        "check": ("configure.config", "Check a configuration."),
        "config": ("configure.config", "Show, explain and document the configuration."),
        "compat": ("configure.compat", "Write gateway.yaml from flags of the reference gateway."),
        "identity": ("configure.identity", "Create, show or import the gateway's key."),
        "plan": ("configure.revisions", "Show what a reload would change."),
        "reload": ("configure.revisions", "Apply the configuration file."),
        "confirm": ("configure.revisions", "Keep a revision that is on trial."),
        "rollback": ("configure.revisions", "Apply an earlier revision again."),
        "history": ("configure.revisions", "List, show and compare revisions."),
    },
    "Develop a canister or client": {
        "demo": ("develop.demo", "Run a conversation through a gateway on this machine."),
        "localnet": ("develop.localnet", "Run a local IC."),
        "connect": ("develop.connect", "Exchange messages with a canister."),
        "cert": ("develop.cert", "Show and verify certificates."),
        "bench": ("develop.bench", "Measure a gateway under load."),
        "completion": ("develop.completion", "Print the completion script of a shell."),
    },
}
"""By title of a group in ``icws --help``: each command with its module (below ``appliance.cli``) and its sentence."""

COMMANDS = {name: sentence for commands in GROUPS.values() for name, (_, sentence) in commands.items()}
_MODULES = {name: module for commands in GROUPS.values() for name, (module, _) in commands.items()}


class Commands(click.Group):
    """Imports commands when they are used, and turns our errors into a message and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        prepare_streams()
        try:
            return super().main(*args, **kwargs)
        except OSError:  # of a stream: a help text is printed before `invoke`, a message about an error behind it
            _report_broken_output()
            raise SystemExit(1) from None
        finally:
            abandon_broken_streams()

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: D102
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: D102
        if cmd_name not in COMMANDS:
            return None
        command = getattr(_imported(f"appliance.cli.{_MODULES[cmd_name]}"), cmd_name.replace("-", "_"))
        return command if isinstance(command, click.Command) else None

    def resolve_command(  # noqa: D102
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            similar = _similar_commands(args[0])
            hint = f"; did you mean {' or '.join(similar)}?" if similar else ""
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names without importing the commands: the shell waits for each Tab."""
        names = [CompletionItem(name, help=COMMANDS[name]) for name in COMMANDS if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: D102
        widest = max(map(len, COMMANDS))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{widest}}", sentence) for name, (_, sentence) in commands.items()])

    def invoke(self, ctx: click.Context) -> object:  # noqa: D102
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            click.echo(printable(str(error)), err=True)
            ctx.exit(EXIT_CONFIG)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(EXIT_INTERRUPTED)
        except BrokenPipeError:  # the reader closed the pipe, as in `icws … | head`: click exits quietly
            raise
        except click.UsageError:
            raise
        except click.ClickException as error:
            raise click.ClickException(printable(error.message)) from error
        except OSError as error:
            if not _has_folder():
                raise click.ClickException("the current folder was removed; change to another one") from error
            if error.filename is None and _report_broken_output():
                ctx.exit(1)
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise click.ClickException(f"{error.strerror}; `ulimit -n` shows and raises the limit") from error
            # "[Errno 28] No space left on device: '/a'" in the order of all other messages: the thing, then the problem
            parts = [error.filename, error.strerror or error]
            raise click.ClickException(printable(": ".join(str(part) for part in parts if part))) from error
        except GatewayError as error:
            raise click.ClickException(printable(str(error))) from error


def _imported(name: str) -> ModuleType:
    """Import a module without looking for garbage meanwhile: an import makes 100,000 objects that stay, and to look at
    them again and again takes an eighth of the time until a command starts.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return import_module(name)
    finally:
        if was_enabled:
            gc.enable()


def _report_broken_output() -> bool:
    """Say that standard output cannot be written, if that is so. Returns whether it is."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return abandon_broken_streams()
    except OSError as error:
        problem = error.strerror
        is_broken = abandon_broken_streams()
        with suppress(OSError):
            click.echo(printable(f"Error: standard output: {problem}"), err=True)
        return is_broken
    return False


def _has_folder() -> bool:
    """Whether the current folder still exists: relative paths mean nothing without it."""
    try:
        Path.cwd()
    except OSError:
        return False
    return True


def _similar_commands(name: str) -> list[str]:
    from difflib import get_close_matches  # noqa: PLC0415 - only for mistyped commands

    return get_close_matches(name, COMMANDS, n=2)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, callback=print_version, help="Show the version and exit.")
# Eager, so that it is known when --version is acted on.
@click.option("--verbose", is_flag=True, is_eager=True, help="With --version: of what runs, and how it was installed.")
def main(verbose: bool) -> None:
    """WebSocket gateway for canisters of the Internet Computer."""
    if verbose:
        raise click.UsageError("--verbose belongs to --version; commands log what log.level says")
