"""Alerting rules for Prometheus, made from the catalogue of metrics."""

from dataclasses import dataclass

import yaml

from appliance.control.observe import catalogue as m
from appliance.errors import CertificateError
from docs.promql import quantile, rate, select

_ALERTS = """\
# Alerting rules for Prometheus, generated from appliance/control/observe/catalogue.py (make docs). The thresholds are a
# starting point: choose those that your users would notice.
"""


JOB = "icws"
"""Of the scrape configuration in docs/deploy."""


@dataclass(frozen=True)
class _Alert:
    """An alerting rule: ``summary`` is the problem in a sentence, ``action`` what to do about it."""

    name: str
    expression: str
    lasting: str
    severity: str
    summary: str
    action: str


def render_alerts() -> str:
    """Alerting rules in one group."""
    rules = [
        {
            "alert": f"Icws{alert.name}",
            "expr": alert.expression,
            "for": alert.lasting,
            "labels": {"severity": alert.severity},
            "annotations": {"summary": _with_instance(alert), "description": alert.action},
        }
        for alert in _alerts()
    ]
    groups = {"groups": [{"name": "icws", "rules": rules}]}
    return _ALERTS + yaml.safe_dump(groups, sort_keys=False, width=118, allow_unicode=True)


def _with_instance(alert: _Alert) -> str:
    """The sentence, with the gateway that it is about; what is absent has no labels."""
    has_it = "$labels.instance" in alert.summary or alert.expression.startswith("absent(")
    return alert.summary if has_it else f"{{{{ $labels.instance }}}}: {alert.summary}"


def _alerts() -> list[_Alert]:
    return [*_availability(), *_trust(), *_flow(), *_room(), *_operation()]


def _availability() -> list[_Alert]:
    failed, answered = rate(m.FAILED_RELAYS, "10m", "instance"), rate(m.RELAYED, "10m", "instance")
    return [
        _Alert(
            "Down",
            f'up{{job="{JOB}"}} == 0',
            "1m",
            "critical",
            "The gateway on {{ $labels.instance }} cannot be scraped.",
            "Check whether it runs, and whether Prometheus reaches `metrics.listen`.",
        ),
        _Alert(
            "Absent",
            f'absent(up{{job="{JOB}"}})',
            "2m",
            "critical",
            "Prometheus knows no gateway that it could scrape.",
            f"Add one to the job `{JOB}` of its configuration, see docs/deploy/prometheus.yml.",
        ),
        _Alert(
            "Restarting",
            f"changes({m.STARTED_AT.name}[30m]) > 3",
            "0m",
            "critical",
            "The gateway on {{ $labels.instance }} restarts repeatedly.",
            "Its log has the reason.",
        ),
        _Alert(
            "PollsFail",
            _named(f"{m.DEGRADED.name} > 0"),
            "5m",
            "warning",
            "Polls of canister {{ $labels.name }} ({{ $labels.canister }}) fail.",
            "Its clients get no messages. `icws canisters show` shows the last error.",
        ),
        _Alert(
            "PollLag",
            _named(f"{m.LAG.name} > 60 and on (instance, canister) {m.PAUSED.name} == 0"),
            "1m",
            "critical",
            "No poll of {{ $labels.name }} ({{ $labels.canister }}) has succeeded for {{ $value | humanizeDuration }}.",
            "Its clients get no messages. `icws doctor` checks the endpoints of the IC and the canister.",
        ),
        _Alert(
            "RelaysFail",
            f"{failed} / ({answered} + {failed}) > 0.05",
            "10m",
            "warning",
            "{{ $value | humanizePercentage }} of the calls of clients fail.",
            f"`{m.FAILED_RELAYS.name}` has the reasons.",
        ),
    ]


def _named(expression: str) -> str:
    """Series of a canister, with its configured name as a label."""
    return f"({expression}) * on (instance, canister) group_left (name) {m.CANISTER_INFO.name}"


def _trust() -> list[_Alert]:
    reasons = {CertificateError.reason, *(error.reason for error in CertificateError.__subclasses__())}
    untrusted = select(m.FAILED_POLLS, reason="~" + "|".join(sorted(reasons)))
    return [
        _Alert(
            "BadCertificates",
            f"increase({untrusted}[10m]) > 0",
            "0m",
            "critical",
            "Replies of the IC are not valid ({{ $labels.reason }}).",
            "An endpoint sends forged or old data, or this machine's clock is wrong. Nothing of it was delivered.",
        ),
        _Alert(
            "Unverified",
            f"increase({m.DOUBTED.name}[10m]) > 0",
            "0m",
            "warning",
            "Messages that failed verification ({{ $labels.reason }}) were passed on.",
            "`verification` is set to `report`. Find the sender, then set it to `enforce`.",
        ),
        _Alert(
            "MessagesLost",
            f"increase({m.GAPS.name}[10m]) > 0",
            "0m",
            "critical",
            "Messages of a canister are lost: their nonces are not consecutive.",
            "Canisters delete messages that are not polled in time. The log names the canister.",
        ),
    ]


def _flow() -> list[_Alert]:
    slow_ic = quantile(m.HOPS, 0.99, "10m", "instance", hop="gateway_to_ic")
    slow_here = quantile(m.HOPS, 0.99, "10m", "instance", hop="polled_to_written")
    limited = rate(m.DECISIONS, "10m", "instance", "scope", decision="limited", mode="enforce")
    return [
        _Alert(
            "SlowIc",
            f"{slow_ic} > 15",
            "10m",
            "warning",
            "Calls of clients take {{ $value | humanizeDuration }} (99 %).",
            "The IC is slow, or clients send faster than it accepts their messages.",
        ),
        _Alert(
            "CallsWait",
            f"min_over_time({m.CALLS_WAITING.name}[5m]) > 0",
            "5m",
            "warning",
            "{{ $value | humanize }} calls of clients wait for their turn.",
            "`relay.calls` or `relay.bytes` is too small, or the IC is slower than usual: see docs/capacity.md.",
        ),
        _Alert(
            "SlowGateway",
            f"{slow_here} > 0.25",
            "10m",
            "warning",
            "Messages of canisters wait {{ $value | humanizeDuration }} in the gateway (99 %).",
            "It has too little CPU time, or replies are very large.",
        ),
        _Alert(
            "LoopLate",
            f"{m.LOOP_LAG.name} > 0.5",
            "2m",
            "critical",
            "The event loop is {{ $value | humanizeDuration }} late.",
            "Something blocks it: check the plugins and the CPU load.",
        ),
        _Alert(
            "ManyLimited",
            f"{limited} > 1",
            "10m",
            "info",
            "{{ $labels.scope }} refuses {{ $value | humanize }} a second.",
            "`icws limits` shows the clients and addresses.",
        ),
    ]


def _room() -> list[_Alert]:
    return [
        _Alert(
            "NearlyFull",
            f"{m.CONNECTIONS.name} / {m.CONNECTIONS_LIMIT.name} > 0.9",
            "5m",
            "warning",
            "{{ $value | humanizePercentage }} of `gateway.max_connections` are in use.",
            "Raise it, or add a gateway.",
        ),
        _Alert(
            "FilesNearlyOut",
            f"{m.OPEN_FDS.name} / {m.MAX_FDS.name} > 0.9",
            "5m",
            "critical",
            "The process has opened {{ $value | humanizePercentage }} of the files that it may open.",
            "Raise LimitNOFILE above `gateway.max_connections`.",
        ),
        _Alert(
            "LimitForgets",
            f"increase({m.FORGOTTEN.name}[30m]) > 0",
            "0m",
            "info",
            "The table of {{ $labels.scope }} is too small for the number of addresses or clients.",
            "They may belong to one attacker. Use a rate limit in front of the gateway.",
        ),
    ]


def _operation() -> list[_Alert]:
    return [
        _Alert(
            "ConfigRejected",
            f"{m.RELOAD_SUCCESSFUL.name} == 0",
            "1m",
            "warning",
            "The last reload was refused.",
            "The previous configuration stays in use. `icws status` shows the problem.",
        ),
        _Alert(
            "PluginOff",
            f"{m.PLUGIN_OFF.name} > 0",
            "5m",
            "warning",
            "Plugin {{ $labels.plugin }} is switched off because it failed.",
            "`icws plugins` shows its last error.",
        ),
        _Alert(
            "JournalFails",
            f"increase({m.JOURNAL_FAILURES.name}[10m]) > 0 or {m.JOURNALED.name} == 0",
            "5m",
            "warning",
            "Clients are not kept on disk.",
            "A crash now leaves them behind in their canisters. See whether `gateway.journal` can be written.",
        ),
        _Alert(
            "CertificateEnds",
            f"{m.TLS_EXPIRY.name} - time() < 14 * 86400",
            "1h",
            "warning",
            "The certificate of `gateway.tls` expires in {{ $value | humanizeDuration }}.",
            "Replace the files; the gateway reloads them.",
        ),
        _Alert(
            "InternalErrors",
            f"increase({select(m.ERRORS, reason='internal')}[10m]) > 0",
            "0m",
            "warning",
            "The gateway had an internal error.",
            "Its log has the traceback; please report it.",
        ),
    ]
