"""The log on standard error, as plain text or as JSON."""

import logging
import sys
from typing import Literal

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from appliance.config.schema import Config, Log
from appliance.gateway.change import ImmediateChange


def configure_logging(settings: Log) -> None:
    """Set up structlog and the standard library's logging, so that libraries write lines of the same form.

    Tracebacks have no local variables: keys and tokens are among them.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: Processor
    if settings.format == "json":
        shared.append(ExceptionRenderer(ExceptionDictTransformer(show_locals=False)))
        renderer = structlog.processors.JSONRenderer(default=str)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
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


Level = Literal["debug", "info", "warning", "error"]


class Logging:
    """The log as a part of the gateway that follows the configuration. A level set through the API stays until the
    section ``log`` changes.
    """

    def __init__(self, settings: Log) -> None:
        self.level: Level = settings.level
        self._settings = settings
        configure_logging(settings)

    def set_level(self, level: Level) -> None:
        """Log this level and above from now on."""
        self.level = level
        configure_logging(self._settings.model_copy(update={"level": level}))

    async def prepare(self, new: Config) -> ImmediateChange:
        """Get ready to use the ``log`` section of another configuration."""
        return ImmediateChange(lambda: self.follow(new.log))

    def follow(self, settings: Log) -> None:
        """Use this section, if it differs from the current one."""
        if settings != self._settings:
            self._settings = settings
            self.set_level(settings.level)
