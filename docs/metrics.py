"""The page of metrics, made from the catalogue."""

from collections.abc import Iterable

from appliance.control.observe.catalogue import CATALOGUE, Label, Metric
from appliance.gateway.recording.recorder import SAMPLED
from docs.promql import by_group

_PAGE = """\
# Metrics

The control plane serves them at `/metrics` in the text format of Prometheus, to whoever may look (role `viewer`):

```console
$ curl --unix-socket data/control.sock http://gateway/metrics
```

Nothing is exported that is not on this page, and every label has the bound that stands here: nobody can make the number
of series grow by what he sends. What would be beyond a bound is counted as `_other`. Counters begin at 0 when the
gateway starts. `grafana.json` beside this page is a dashboard of all of them, `alerts.yaml` has rules for Prometheus.
All three are made from `appliance/control/observe/catalogue.py` (`make docs`).
"""
_HOPS = (
    (
        "client_to_gateway",
        "the client wrote its message",
        "the message is here",
        f"1 in {SAMPLED}; by the client's clock",
    ),
    ("gateway_to_ic", "the message is here", "the IC answered its call", "all; the relay queue is included"),
    ("canister_to_polled", "the canister wrote its message", "the reply to a poll is here", "the oldest of a reply"),
    ("polled_to_written", "the reply is here", "the frame is written", "all; verification is included"),
)
_TRACES = """
## Traces

With the extra `otel` (`pip install 'icws[otel]'`), and where the environment has `OTEL_TRACES_EXPORTER` or
`OTEL_EXPORTER_OTLP_ENDPOINT`, spans are exported:

| span | is a child of | is linked to | has |
| --- | --- | --- | --- |
| `session` | | | address, generation, canister, client, close code and cause |
| `relay` | its session | | method, request id of the IC, time in the queue, size, error |
| `poll` | | | canister, number, messages |
| `message` | its session | the poll that brought it | nonce, size |

`OTEL_TRACES_SAMPLER` and the other variables of OpenTelemetry hold; a session is sampled as a whole. Without the two
variables its SDK is not even loaded.
"""


def render_metrics() -> str:
    """The page: every metric under its heading, every label, and what the hops are."""
    chapters = [_chapter(title, metrics) for title, metrics in by_group()]
    return _PAGE + "".join(chapters) + _labels() + _hops() + _TRACES


def _hops() -> str:
    rows = "".join(f"| `{name}` | {begins} | {ends} | {which} |\n" for name, begins, ends, which in _HOPS)
    return f"\n## Hops\n\n| `hop` | from | to | measured |\n| --- | --- | --- | --- |\n{rows}"


def _chapter(title: str, metrics: Iterable[Metric]) -> str:
    rows = "".join(
        f"| `{metric.name}` | {metric.type} | {metric.unit} | {_names(metric.labels)} | {metric.help} |\n"
        for metric in metrics
    )
    return f"\n## {title}\n\n| metric | type | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n{rows}"


def _names(labels: Iterable[Label]) -> str:
    return ", ".join(f"`{label.name}`" for label in labels)


def _labels() -> str:
    labels = list(dict.fromkeys(label for metric in CATALOGUE for label in metric.labels))
    rows = "".join(f"| `{label.name}` | {label.meaning} | {label.bound} | {_values(label)} |\n" for label in labels)
    return (
        "\n## Labels\n\nEach with the most values it can have.\n\n| label | says | at most | values |\n"
        f"| --- | --- | --- | --- |\n{rows}"
    )


def _values(label: Label) -> str:
    if label.values is None:
        return "any"
    return ", ".join(f"`{value}`" for value in sorted(label.values)) + (", `{OTHER}`" if label.has_other else "")
