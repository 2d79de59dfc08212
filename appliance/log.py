"""The log on standard error, as plain text or as JSON."""

import io
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Literal, TextIO

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, ExcInfo, Processor

from appliance.config.schema import Config, Log
from appliance.gateway.change import ImmediateChange
from appliance.printable import one_line, printable

_OF_LINES = {"exception", "stack"}
"""Keys whose text has several lines."""

CanisterNames = Mapping[str, str]
"""Names by canister id."""


def configure_logging(
    settings: Log, canister_names: Callable[[], CanisterNames] = dict, worker: int | None = None
) -> None:
    """Set up structlog and the standard library's logging, so that libraries write lines of the same form.

    Lines with a ``canister`` get its name beside it, and those of a worker its number. Tracebacks have no local
    variables, which hold keys and tokens.
    """

    def add_canister_name(_: object, __: str, line: EventDict) -> EventDict:
        name = canister_names().get(str(line.get("canister")))
        line = line if name is None else {**line, "canister_name": name}
        return line if worker is None else {**line, "worker": worker}

    shared: list[Processor] = [
        add_canister_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: Processor
    for_text: list[Processor] = []
    if settings.format == "json":
        shared.append(ExceptionRenderer(ExceptionDictTransformer(show_locals=False)))
        renderer = structlog.processors.JSONRenderer(default=str)
    else:
        for_text.append(_write_out)
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_traceback)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *for_text, renderer],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=settings.level.upper(), force=True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _write_out(_logger: object, _name: str, event: EventDict) -> EventDict:
    """Texts of canisters, endpoints and clients cannot act on a terminal, nor look like further lines of the log."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = printable(value) if key in _OF_LINES else one_line(value)
    return event


def _traceback(stream: TextIO, exc_info: ExcInfo) -> None:
    written = io.StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    stream.write(printable(written.getvalue()))


Level = Literal["debug", "info", "warning", "error"]


class Logging:
    """The log as a part of the gateway that follows the configuration. A level set through the API stays until the
    section ``log`` changes.
    """

    def __init__(self, settings: Log, worker: int | None = None) -> None:
        self.level: Level = settings.level
        self.canister_names: CanisterNames = {}
        self._settings = settings
        self._worker = worker
        self.set_level(settings.level)

    def set_level(self, level: Level) -> None:
        """Log this level and above from now on."""
        self.level = level
        configure_logging(self._settings.model_copy(update={"level": level}), lambda: self.canister_names, self._worker)

    async def prepare(self, new: Config) -> ImmediateChange:
        """Get ready to use the ``log`` section of another configuration, and its names of canisters."""
        return ImmediateChange(lambda: self.follow(new))

    def follow(self, config: Config) -> None:
        """Use this configuration. Its level counts only if the section differs from the one before."""
        self.canister_names, settings = config.canister_names, config.log
        if settings != self._settings:
            self._settings = settings
            self.set_level(settings.level)
