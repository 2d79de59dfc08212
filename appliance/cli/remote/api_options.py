"""Commands that ask a running gateway: their options, and how the gateway is found.

Where its API is says ``--socket`` or ``--url``, else their variables, else ``control.listen`` of the configuration.
That is read without being checked as a whole: the gateway is api most when somebody has just broken the file.
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

from appliance.control.client import UNIX, Client, ConfigRefused, ControlError, ControlRefused
from appliance.control.models import Request
from appliance.errors import GatewayError

CONFIG = Path("gateway.yaml")
INSTALLED = Path("/etc/icws/gateway.yaml")
"""Where the file is on a machine that runs the service."""

_KEY = "appliance.cli"  # of ctx.meta, which a group and its commands share
_HINTS = {
    "unauthorized": "give a token: --token-file FILE",
    "restart-needed": "--allow-restart applies the others and lets these wait for the next start",
    "force-needed": "--force does it nevertheless",
    "etag-mismatch": "look at `icws plan` again",
}
"""What can be done about problems of the API."""

Function = TypeVar("Function", bound=Callable[..., Any])
Body = TypeVar("Body", bound=Request)


class Place(NamedTuple):
    """Where the API of a gateway is, and who says so."""

    url: str
    source: str


class SharedOption(click.Option):
    """An option that says where the gateway is or how it answers. It is kept for the whole command line, and the
    functions of commands are not given it: it may stand before the name of a subcommand or behind it."""

    def __init__(self, declarations: list[str], **attributes: Any) -> None:
        super().__init__(declarations, expose_value=False, callback=_keep, **attributes)


class _Remote(click.Command):
    """A command whose help tells apart what it does from where it does it, and whose errors say what can be done."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.params.extend(_options())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        format_options(self, ctx, formatter)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        with _told():
            return super().invoke(ctx)


class RemoteCommand(_Remote, click.Command):
    """A command that asks a running gateway."""


class RemoteGroup(_Remote, click.Group):
    """A group of such commands, which does something without one, too."""

    command_class = RemoteCommand

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, invoke_without_command=True, **attributes)


def remote_command(function: Callable[..., Any]) -> RemoteCommand:
    """A command that asks a running gateway."""
    return click.command(cls=RemoteCommand)(function)


def remote_group(function: Callable[..., Any]) -> RemoteGroup:
    """A group of commands that ask a running gateway, which does something without one, too."""
    return click.group(cls=RemoteGroup)(function)


def json_option(function: Function) -> Function:
    """``--json``, for a command that asks no gateway."""
    return click.option("--json", cls=SharedOption, is_flag=True, default=None, help="Answer in JSON.")(function)


def client() -> Client:
    """The gateway that the command line means. Raises UsageError, and ClickException for a token that is not there."""
    url, _ = place()
    return Client(url, _token())


def place() -> Place:
    """Where the gateway is. Raises UsageError."""
    said = {name: value for name, value in _said().items() if name in ("socket", "url", "config")}
    typed = {name: value for name, value in said.items() if value.is_typed} or said
    if "socket" in typed and "url" in typed:
        raise click.UsageError("--socket and --url are two places, give one")
    if socket := typed.get("socket"):
        return Place(f"{UNIX}{Path(str(socket.value).removeprefix(UNIX)).absolute()}", socket.source)
    if url := typed.get("url"):
        return Place(str(url.value), url.source)
    return configured_address(config_file())


def config_file() -> Path:
    """The configuration that the command line means."""
    said: Path | None = _value("config")
    return said or (INSTALLED if not CONFIG.exists() and INSTALLED.exists() else CONFIG)


def configured_address(file: Path) -> Place:
    """Where the API of a gateway with this configuration is, as far as it can be read. Raises ClickException where it
    has none.
    """
    from appliance.cli.remote.api_address import control_listen  # noqa: PLC0415 - YAML and the schema take their time

    listen, source = control_listen(file, os.environ)
    if listen is None:
        raise click.ClickException(f"{source}: control.listen is null, this gateway has no control plane")
    return Place(listen if listen.startswith(UNIX) else f"http://{listen}", source)


def request(model: type[Body], **given: Any) -> Body:
    """The body of a request; None is as if it were not given. Raises UsageError for what the API does not take."""
    try:
        return model.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise click.UsageError("\n".join(problems)) from None


def wants_json() -> bool:
    """Whether the answer is for a program."""
    return bool(_value("json"))


@contextmanager
def _told() -> Iterator[None]:
    """Tell errors of the API: to programs as the problem details that they are, to people with what can be done."""
    try:
        yield
    except (ControlError, ConfigRefused) as error:
        if wants_json() and isinstance(error, ControlRefused | ConfigRefused):
            click.echo(orjson.dumps(error.details.model_dump(mode="json"), option=orjson.OPT_INDENT_2))
        if isinstance(error, ConfigRefused):
            raise
        raise click.ClickException(explained(error)) from error


def explained(error: GatewayError) -> str:
    """What an error says, and what can be done about it."""
    return "\n".join(filter(None, [str(error), _hint(error)]))


def _hint(error: GatewayError) -> str | None:
    if isinstance(error, ControlRefused):
        return _HINTS.get(error.kind)
    if not isinstance(error, ControlError):
        return None
    try:
        source = place().source
    except click.ClickException:
        return None
    return None if source.startswith("--") else f"(that is where {source} says it is; --socket or --url says otherwise)"


def _token() -> str | None:
    file: Path | None = _value("token_file")
    if file is None:
        return None
    try:
        lines = file.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file}: {getattr(error, 'strerror', None) or 'is not text'}") from error
    if len(lines) != 1:
        raise click.ClickException(f"{file} must hold one token and nothing else")
    return lines[0]


class _Said(NamedTuple):
    value: Any
    is_typed: bool
    source: str


def _said() -> dict[str, _Said]:
    context = click.get_current_context(silent=True)
    said: dict[str, _Said] = {} if context is None else context.meta.setdefault(_KEY, {})
    return said


def _value(name: str) -> Any:
    said = _said().get(name)
    return None if said is None else said.value


def _keep(context: click.Context, option: click.Parameter, value: Any) -> None:
    """Remember what was said; the command line wins over a variable, wherever on it that stands."""
    said, name = context.meta.setdefault(_KEY, {}), option.name or ""
    is_typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    if value is not None and (is_typed or name not in said):
        said[name] = _Said(value, is_typed, option.opts[-1] if is_typed else str(option.envvar))


def format_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """The options of a command in two parts."""
    own: list[tuple[str, str]] = []
    shared: list[tuple[str, str]] = []
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None and isinstance(parameter, click.Option):
            (shared if isinstance(parameter, SharedOption) else own).append(record)
    for title, records in (("Options", own), ("Which gateway, and how it answers", shared)):
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def _options() -> Iterator[SharedOption]:
    file = click.Path(path_type=Path)
    yield SharedOption(["--json"], is_flag=True, default=None, help="Answer in JSON.")
    yield SharedOption(
        ["--socket"], type=file, envvar="ICWS_SOCKET", show_envvar=True, help="The Unix socket of its API."
    )
    yield SharedOption(
        ["--url"], metavar="URL", envvar="ICWS_URL", show_envvar=True, help="Its API over TCP, http://host:port."
    )
    yield SharedOption(
        ["--token-file"], type=file, envvar="ICWS_TOKEN_FILE", show_envvar=True, help="Holds the token for it."
    )
    where = f"Says where it is otherwise; {CONFIG}, or {INSTALLED} where there is none."
    yield SharedOption(["-c", "--config"], type=file, envvar="ICWS_CONFIG", show_envvar=True, help=where)
