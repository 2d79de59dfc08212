"""Commands that call the API of a running gateway: their shared options, and how they find its address.

The address comes from ``--socket`` or ``--url``, else from their environment variables, else from ``control.listen`` of
the configuration. The rest of the configuration is not validated: operators need these commands most when the file is
broken.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
import orjson
from click.core import ParameterSource
from pydantic import ValidationError

from appliance.cli.groups import HelpfulGroup
from appliance.control.client import UNIX, Client, ConfigRefused, ControlError, ControlRefused
from appliance.control.models import Request, problem_of
from appliance.errors import GatewayError
from appliance.printable import printable_json

CONFIG = Path("gateway.yaml")
INSTALLED = Path("/etc/icws/gateway.yaml")
"""The configuration of the installed service."""

_META_KEY = "appliance.cli"  # of ctx.meta, which a group and its commands share
_HINTS = {
    "unauthorized": "give a token: --token-file FILE",
    "restart-needed": "--allow-restart applies the other changes now and these at the next start",
    "force-needed": "--force does it anyway",
    "etag-mismatch": "run `icws plan` again",
}
"""Remedies by the kind of an API problem."""

Function = TypeVar("Function", bound=Callable[..., Any])
Body = TypeVar("Body", bound=Request)


class ApiAddress(NamedTuple):
    """The URL of a gateway's API, and the option, variable or file that it comes from."""

    url: str
    source: str


class SharedOption(click.Option):
    """An option about the gateway's address or the output format.

    Its value is stored for the whole command line instead of passed to the command's function, because it may stand
    before or after the name of a subcommand.
    """

    def __init__(self, declarations: list[str], **attributes: Any) -> None:
        super().__init__(declarations, expose_value=False, callback=_store, **attributes)


class _Remote(click.Command):
    """Adds the shared options, a help section for them, and hints to errors of the API."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.params.extend(_shared_options())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        format_options(self, ctx, formatter)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        with _api_errors_reported():
            return super().invoke(ctx)


class RemoteCommand(_Remote, click.Command):
    """A command that calls the API of a running gateway."""


class RemoteGroup(_Remote, HelpfulGroup):
    """A group of such commands that also runs without a subcommand."""

    command_class = RemoteCommand

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, invoke_without_command=True, **attributes)


def remote_command(function: Callable[..., Any]) -> RemoteCommand:
    """Make a command that calls the API of a running gateway."""
    return click.command(cls=RemoteCommand)(function)


def remote_group(function: Callable[..., Any]) -> RemoteGroup:
    """Make a group of commands that call the API; the function itself runs without a subcommand."""
    return click.group(cls=RemoteGroup)(function)


def json_option(function: Function) -> Function:
    """Add ``--json`` to a command that does not call the API."""
    return click.option("--json", cls=SharedOption, is_flag=True, default=None, help="Print JSON.")(function)


def client() -> Client:
    """Return a client of the chosen gateway. Raises UsageError, and ClickException for an unreadable token file."""
    return Client(api_address().url, _token())


def api_address() -> ApiAddress:
    """Return the address of the chosen gateway. Raises UsageError, and ClickException if it has no control plane."""
    given = {name: value for name, value in _option_values().items() if name in ("socket", "url", "config")}
    # Whatever is typed wins over all variables: `-c FILE` names another gateway than an ICWS_URL of the shell.
    typed = {name: value for name, value in given.items() if value.is_typed} or given
    if "socket" in typed and "url" in typed:
        raise click.UsageError("--socket and --url exclude each other, give one")
    if socket := typed.get("socket"):
        return ApiAddress(f"{UNIX}{Path(str(socket.value).removeprefix(UNIX)).absolute()}", socket.source)
    if url := typed.get("url"):
        return ApiAddress(str(url.value), url.source)
    return configured_address(config_file())


def config_file() -> Path:
    """Return the configuration file that the command line names, or the default one."""
    given: Path | None = _option_value("config")
    return given or (INSTALLED if not CONFIG.exists() and INSTALLED.exists() else CONFIG)


def configured_address(file: Path) -> ApiAddress:
    """Return the API address of a gateway with this configuration. Raises ClickException if it has no control plane."""
    from appliance.cli.remote.api_address import control_listen  # noqa: PLC0415 - imports YAML and the schema: slow

    listen, source = control_listen(file, os.environ)
    if listen is None:
        raise click.ClickException(f"{source}: control.listen is null, this gateway has no control plane")
    return ApiAddress(listen if listen.startswith(UNIX) else f"http://{listen}", source)


def request(model: type[Body], **given: Any) -> Body:
    """Build the body of a request; None leaves a field out. Raises UsageError for values that the API refuses."""
    try:
        return model.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, each['loc']))}: {problem_of(each)}" for each in error.errors())
        raise click.UsageError("\n".join(problems)) from None


def wants_json() -> bool:
    """Whether ``--json`` was given."""
    return bool(_option_value("json"))


@contextmanager
def _api_errors_reported() -> Iterator[None]:
    """Turn errors of the API into messages with a hint; with ``--json`` print the problem details as well."""
    try:
        yield
    except (ControlError, ConfigRefused) as error:
        if wants_json() and isinstance(error, ControlRefused | ConfigRefused):
            details = orjson.dumps(error.details.model_dump(mode="json"), option=orjson.OPT_INDENT_2)
            click.echo(printable_json(details.decode()))
        if isinstance(error, ConfigRefused):
            raise  # the main group ends with EXIT_CONFIG for it
        raise click.ClickException(with_hint(error)) from error


def with_hint(error: GatewayError) -> str:
    """Return the message of an error, and a remedy if one is known."""
    return "\n".join(filter(None, [str(error), _hint(error)]))


def _hint(error: GatewayError) -> str | None:
    if isinstance(error, ControlRefused):
        return _HINTS.get(error.kind)
    if not isinstance(error, ControlError):
        return None
    try:
        source = api_address().source
    except click.ClickException:
        return None
    return None if source.startswith("--") else f"(address from {source}; --socket or --url overrides it)"


def _token() -> str | None:
    file: Path | None = _option_value("token_file")
    if file is None:
        return None
    try:
        lines = file.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file}: {getattr(error, 'strerror', None) or 'is not text'}") from error
    if len(lines) != 1:
        raise click.ClickException(f"{file} must hold one token and nothing else")
    return lines[0]


class _OptionValue(NamedTuple):
    value: Any
    is_typed: bool
    source: str


def _option_values() -> dict[str, _OptionValue]:
    context = click.get_current_context(silent=True)
    values: dict[str, _OptionValue] = {} if context is None else context.meta.setdefault(_META_KEY, {})
    return values


def _option_value(name: str) -> Any:
    found = _option_values().get(name)
    return None if found is None else found.value


def _store(context: click.Context, option: click.Parameter, value: Any) -> None:
    """Store an option's value. The command line wins over a variable, before and after the subcommand's name."""
    values, name = context.meta.setdefault(_META_KEY, {}), option.name or ""
    is_typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    # A subcommand is parsed after its group: its variable must not replace what was typed before its name.
    if value is not None and (is_typed or name not in values):
        values[name] = _OptionValue(value, is_typed, option.opts[-1] if is_typed else str(option.envvar))


def format_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write the options of a command in two help sections."""
    own: list[tuple[str, str]] = []
    shared: list[tuple[str, str]] = []
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None and isinstance(parameter, click.Option):
            (shared if isinstance(parameter, SharedOption) else own).append(record)
    for title, records in (("Options", own), ("Gateway and output", shared)):
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def _shared_options() -> Iterator[SharedOption]:
    file = click.Path(path_type=Path)
    yield SharedOption(["--json"], is_flag=True, default=None, help="Print JSON.")
    yield SharedOption(
        ["--socket"], type=file, envvar="ICWS_SOCKET", show_envvar=True, help="Unix socket of the gateway's API."
    )
    yield SharedOption(
        ["--url"], metavar="URL", envvar="ICWS_URL", show_envvar=True, help="URL of its API over TCP: http://host:port."
    )
    yield SharedOption(
        ["--token-file"], type=file, envvar="ICWS_TOKEN_FILE", show_envvar=True, help="File with the API token."
    )
    where = f"Configuration with the API's address; {CONFIG} by default, {INSTALLED} if that does not exist."
    yield SharedOption(["-c", "--config"], type=file, envvar="ICWS_CONFIG", show_envvar=True, help=where)
