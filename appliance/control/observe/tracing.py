"""Exports traces with OpenTelemetry, if its environment variables ask for traces and the extra ``otel`` is installed.

Otherwise the SDK is not even imported: it takes time and memory that most gateways do not need.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import entry_points, version

import structlog

from appliance.gateway.recording.recorder import Recorder, TraceSink
from appliance.installation import installation

_log = structlog.get_logger(__name__)

_EXPORTER = "OTEL_TRACES_EXPORTER"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_NAMES = {"otlp": "otlp_proto_http"}
"""OpenTelemetry's name for an exporter -> the entry point: several packages have an exporter called ``otlp``."""
_EXPORTERS = "opentelemetry_traces_exporter"
"""The group of entry points under which packages announce exporters."""


def wanted_exporter(environ: Mapping[str, str]) -> str | None:
    """The exporter that OpenTelemetry's environment variables select, None for no traces."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    default = "otlp" if any(environ.get(name) for name in _ENDPOINTS) else "none"
    name = environ.get(_EXPORTER) or default
    return None if name == "none" else _NAMES.get(name, name)


@asynccontextmanager
async def tracing(recorder: Recorder, environ: Mapping[str, str] = os.environ) -> AsyncIterator[None]:
    """Trace the events of the recorder until the block is left, then export the rest. A missing extra or an unknown
    exporter is logged, and the gateway runs without traces.
    """
    name = wanted_exporter(environ)
    begun = None if name is None else _begin(name)
    if begun is None:
        yield
        return
    recorder.trace_sink, shut_down = begun
    _log.info("traces are exported", exporter=name)
    try:
        yield
    finally:
        recorder.trace_sink = None
        await asyncio.to_thread(shut_down)


def _begin(name: str) -> tuple[TraceSink, Callable[[], None]] | None:
    """A sink of traces, and the function that shuts it down; None after a problem, which is logged."""
    try:
        # an extra, which takes its time to load
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        from appliance.control.observe.trace_sink import OtelTraceSink  # noqa: PLC0415

        (exporter,) = entry_points(group=_EXPORTERS, name=name)
        processor = BatchSpanProcessor(exporter.load()())
    except ImportError:
        _log.warning("traces are requested, but the extra is not installed", remedy=installation().advice("otel"))
        return None
    except ValueError as error:
        _log.warning("traces are requested, but there is no such exporter", exporter=name, cause=str(error))
        return None
    resource = Resource.create({"service.version": version("icws")})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "icws"}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(processor)
    return OtelTraceSink(provider.get_tracer("icws", version("icws"))), provider.shutdown
