"""Traces: who asks for them gets them, sessions hold what belongs to them, and nobody else pays."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from appliance.control.observe.trace_sink import OtelTraceSink
from appliance.control.observe.tracing import wanted_exporter
from appliance.errors import CertifiedReject
from tests.gateway.bench import until
from tests.gateway.clients import CANISTER
from tests.gateway.fake_ic import OK
from tests.gateway.served import Served, served

TOP = Path(__file__).resolve().parents[3]


def traced(it: Served, sampler: Sampler = ALWAYS_ON) -> InMemorySpanExporter:
    """Where the spans of a gateway go from now on."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    it.gateway.recorder.trace_sink = OtelTraceSink(provider.get_tracer("tests"))
    return exporter


async def test_calls_and_messages_are_parts_of_their_session_and_messages_know_their_poll():
    async with served() as it:
        exporter = traced(it)
        it.canister.on_message = lambda key, payload: it.canister.send(key, b"pong") or OK
        async with it.session() as (client, socket):
            (peer,) = it.gateway.connections
            await socket.send(client.message(b"ping"))
            await socket.recv()
            await until(lambda: peer.timeline.relayed == 2)
        await it.nobody()
    spans = {
        name: [span for span in exporter.get_finished_spans() if span.name == name]
        for name in ("session", "relay", "poll", "message")
    }
    (session,) = spans["session"]
    assert session.kind is SpanKind.SERVER
    assert session.parent is None
    assert session.attributes["icws.session"] == peer.id
    assert session.attributes["icws.client"] == f"{client.principal}_{client.nonce}"
    assert session.attributes["icws.close.code"] == 1000
    assert session.status.status_code is StatusCode.UNSET
    assert [event.name for event in session.events] == ["open"]
    for span in spans["relay"] + spans["message"]:
        assert span.parent.span_id == session.context.span_id
        assert span.context.trace_id == session.context.trace_id
        assert session.start_time <= span.start_time <= span.end_time <= session.end_time
    assert [span.attributes["ic.method"] for span in spans["relay"]] == ["ws_open", "ws_message"]
    recorded = [moment.facts["request_id"] for moment in peer.timeline.entries if moment.kind == "relayed"]
    assert [span.attributes["ic.request_id"] for span in spans["relay"]] == recorded
    polls = {span.context.span_id: span for span in spans["poll"]}
    assert len(spans["message"]) == 2
    for message in spans["message"]:
        (link,) = message.links
        poll = polls[link.context.span_id]
        assert poll.parent is None
        assert poll.attributes["ic.canister"] == str(CANISTER)
        assert poll.attributes["icws.poll"] == message.attributes["icws.poll"]
        assert poll.start_time <= poll.end_time <= message.start_time
    assert [span.attributes["icws.nonce"] for span in spans["message"]] == [0, 1]


async def test_what_fails_is_an_error():
    async with served() as it:
        exporter = traced(it)
        async with it.session() as (client, socket):

            async def refuse(request):
                raise CertifiedReject(5, "canister trapped")

            it.ic.before_submit = refuse
            await socket.send(client.message())
            await socket.wait_closed()
        await it.nobody()
    spans = exporter.get_finished_spans()
    (failed,) = [span for span in spans if span.name == "relay" and span.status.status_code is StatusCode.ERROR]
    assert failed.status.description == "rejected"
    (session,) = [span for span in spans if span.name == "session"]
    assert session.status.status_code is StatusCode.ERROR
    assert session.status.description == "rejected: rejected (5): canister trapped"


async def test_a_session_that_is_not_sampled_has_no_parts():
    async with served() as it:
        exporter = traced(it, ALWAYS_OFF)
        async with it.session():
            (peer,) = it.gateway.connections
            assert peer.timeline.trace is None
        await it.nobody()
    assert not exporter.get_finished_spans()


async def test_sessions_from_before_are_left_alone():
    async with served() as it:
        async with it.session() as (client, socket):
            exporter = traced(it)
            (peer,) = it.gateway.connections
            await socket.send(client.message())
            await until(lambda: peer.timeline.relayed == 2)
        await it.nobody()
    assert {span.name for span in exporter.get_finished_spans()} <= {"poll"}


async def test_who_was_turned_away_has_no_span():
    async with served() as it:
        exporter = traced(it)
        raw = await it.raw()
        await raw.request("/nowhere")
        raw.close()
        await it.nobody()
    assert not exporter.get_finished_spans()


@pytest.mark.parametrize(
    ("environ", "exporter"),
    [
        ({}, None),
        ({"OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_TRACES_EXPORTER": ""}, None),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "otlp_proto_http"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "console"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "otlp_proto_http"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, "otlp_proto_http"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_the_environment_asks_for_traces(environ, exporter):
    assert wanted_exporter(environ) == exporter


@given(st.dictionaries(st.sampled_from(["PATH", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER"]), st.text()))
def test_nothing_else_asks_for_them(environ):
    assert wanted_exporter(environ) is None


PROGRAM = """
import asyncio, sys
{before}
from appliance.control.observe.tracing import tracing
from appliance.gateway.recording.recorder import Recorder
from appliance.gateway.recording.timeline import ConnectionEnd, Timeline
import appliance.service

LOADED = {{"opentelemetry.sdk", "appliance.control.observe.trace_sink"}}

async def main():
    recorder = Recorder()
    async with tracing(recorder):
        print("traced" if recorder.trace_sink else "not traced", file=sys.stderr)
        timeline = Timeline(10**18)
        timeline.upgraded(10**18, "/v2", "v2")
        recorder.began(timeline)
        timeline.ended(ConnectionEnd(10**18 + 5, 1000, "client", "client", None))
        recorder.ended(timeline)
    assert recorder.trace_sink is None
    print(any(name in LOADED and module for name, module in sys.modules.items()), file=sys.stderr)

asyncio.run(main())
"""


def run(before: str = "", **environ: str) -> tuple[str, list[str]]:
    """What a process of its own writes to standard output, and the lines of standard error."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROGRAM.format(before=before)],
        cwd=TOP,
        env={name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr.splitlines()


def test_without_being_asked_nothing_is_loaded():
    output, told = run()
    assert told == ["not traced", "False"]
    assert output == ""


def test_what_is_asked_for_is_exported_to_the_last_span():
    output, told = run(OTEL_TRACES_EXPORTER="console")
    assert told == ["traced", "True"]
    span = json.loads(output[output.index("{\n") :])
    assert span["name"] == "session"
    assert span["resource"]["attributes"]["service.name"] == "icws"
    assert span["attributes"]["icws.close.code"] == 1000


def test_the_name_of_the_service_can_be_given():
    output, _ = run(OTEL_TRACES_EXPORTER="console", OTEL_SERVICE_NAME="gateway-7")
    assert json.loads(output[output.index("{\n") :])["resource"]["attributes"]["service.name"] == "gateway-7"


def test_without_the_extra_the_gateway_runs_on_and_says_so():
    output, told = run("sys.modules['opentelemetry.sdk'] = None", OTEL_TRACES_EXPORTER="otlp")
    assert told[-2:] == ["not traced", "False"]
    printed = output + "\n".join(told)
    assert "the extra is not installed" in printed
    assert "[otel]" in printed


def test_an_exporter_that_nobody_has_is_no_reason_to_stop():
    output, told = run(OTEL_TRACES_EXPORTER="pigeon")
    assert "not traced" in told
    assert "there is no such exporter" in output + "\n".join(told)
