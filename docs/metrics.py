"""The page of metrics, generated from the catalogue."""

from collections.abc import Iterable

from appliance.control.observe.catalogue import CATALOGUE, Metric
from appliance.control.observe.labels import OTHER, Label
from appliance.gateway.recording.recorder import SAMPLED
from appliance.supervisor.control.metrics import OWN_METRICS
from docs.promql import by_group

_PAGE = """\
# Metrics

The gateway serves them in the Prometheus text format at `/metrics`, for Prometheus at an address of its own that needs
no token and has nothing else:

```yaml
metrics:
  listen: 127.0.0.1:9464        # off by default; `systemd/install.sh` writes this line
```

The control plane has them too. Over TCP it needs a token with the role `viewer`.

```console
$ curl http://127.0.0.1:9464/metrics
$ curl --unix-socket data/control.sock http://localhost/metrics
```

The folder `deploy` has a scrape configuration (`prometheus.yml`, job `icws`) and a provisioning file for Grafana
(`grafana.yaml`); its [README](deploy/README.md) says what else stands around a gateway.

This page lists every metric that is exported. Every label has a bound, so clients cannot create new series; what
exceeds the bound is counted as `_other`. Counters start at 0 when the gateway starts. `grafana.json` in this folder is
a dashboard of all metrics, and `alerts.yaml` has alerting rules for Prometheus. All three are generated from
`appliance/control/observe/catalogue.py` (`make docs`).
"""
_HOPS = (
    (
        "client_to_gateway",
        "the client signs its message",
        "the gateway receives it",
        f"1 in {SAMPLED} messages; uses the client's clock",
    ),
    ("gateway_to_ic", "the gateway receives a message", "the IC answers its call", "all; includes the relay queue"),
    (
        "canister_to_polled",
        "the canister writes its message",
        "the poll reply arrives",
        "the oldest of a reply",
    ),
    ("polled_to_written", "the poll reply arrives", "the frame is written", "all; includes verification"),
)
_TRACES = """
## Traces

The gateway exports spans if the extra `otel` is installed (`pip install 'icws-….whl[otel]'`; the Debian package and the
image have it) and the environment has `OTEL_TRACES_EXPORTER` or `OTEL_EXPORTER_OTLP_ENDPOINT`:

| span | parent | linked to | attributes |
| --- | --- | --- | --- |
| `session` | | | address, generation, canister, client, close code and cause |
| `relay` | its session | | method, request id of the IC, time in the queue, size, error |
| `poll` | | | canister, number, messages |
| `message` | its session | the poll with the message | nonce, size |

`OTEL_TRACES_SAMPLER` and the other variables of OpenTelemetry work as usual. A session is sampled as a whole.
"""


_WORKERS = """
## With several workers

Where `gateway.workers` is more than 1, the supervisor serves the metrics: those above, of each worker, with one more
label `worker` (its number), and these:

| metric | type | meaning |
| --- | --- | --- |
"""


def render_metrics() -> str:
    """The page: every metric below its heading, every label, the hops and the spans."""
    chapters = [_chapter(title, metrics) for title, metrics in by_group()]
    return _PAGE + "".join(chapters) + _labels() + _workers() + _hops() + _TRACES


def _workers() -> str:
    rows = (f"| `{it.name}` | {it.type} | {it.help}{' By `worker`.' * it.of_each} |\n" for it in OWN_METRICS)
    return _WORKERS + "".join(rows)


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
    return f"\n## Labels\n\n| label | meaning | maximum number of values | values |\n| --- | --- | --- | --- |\n{rows}"


def _values(label: Label) -> str:
    if label.values is None:
        return "any"
    return ", ".join(f"`{value}`" for value in sorted(label.values)) + (f", `{OTHER}`" if label.has_other else "")
