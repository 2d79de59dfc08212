"""Alerting rules for Prometheus, made from the catalogue of metrics."""

from dataclasses import dataclass

import yaml

from appliance.control.observe import catalogue as m
from appliance.errors import CertificateError
from docs.promql import quantile, rate, select

_ALERTS = """\
# Rules for Prometheus, made from appliance/control/observe/catalogue.py (make docs). The numbers are a beginning: take
# those that your users would notice.
"""


@dataclass(frozen=True)
class _Alert:
    """When to call somebody, how urgently, and what is wrong in a sentence, and what to do about it in another."""

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
            "annotations": {"summary": alert.summary, "description": alert.action},
        }
        for alert in _alerts()
    ]
    groups = {"groups": [{"name": "icws", "rules": rules}]}
    return _ALERTS + yaml.safe_dump(groups, sort_keys=False, width=118, allow_unicode=True)


def _alerts() -> list[_Alert]:
    return [*_availability(), *_trust(), *_flow(), *_room(), *_operation()]


def _availability() -> list[_Alert]:
    failed, answered = rate(m.FAILED_RELAYS, "10m", "instance"), rate(m.RELAYED, "10m", "instance")
    return [
        _Alert("Down", f"absent({m.INFO.name})", "2m", "critical", "No gateway is scraped.", "See whether it runs."),
        _Alert(
            "Restarting",
            f"changes({m.STARTED_AT.name}[30m]) > 3",
            "0m",
            "critical",
            "The gateway on {{ $labels.instance }} starts again and again.",
            "Its log says why it ends.",
        ),
        _Alert(
            "PollsFail",
            f"{m.DEGRADED.name} > 0",
            "5m",
            "warning",
            "Polls of canister {{ $labels.canister }} fail.",
            "Its clients get nothing. `icws canisters show` has the last error.",
        ),
        _Alert(
            "PollLag",
            f"{m.LAG.name} > 60 and on (instance, canister) {m.PAUSED.name} == 0",
            "1m",
            "critical",
            "Canister {{ $labels.canister }} was not polled well for {{ $value | humanizeDuration }}.",
            "Its clients get nothing. Look at the endpoints of the IC and at the canister itself.",
        ),
        _Alert(
            "RelaysFail",
            f"{failed} / ({answered} + {failed}) > 0.05",
            "10m",
            "warning",
            "{{ $value | humanizePercentage }} of the calls of clients come to nothing.",
            f"`{m.FAILED_RELAYS.name}` has the reasons.",
        ),
    ]


def _trust() -> list[_Alert]:
    reasons = {CertificateError.reason, *(error.reason for error in CertificateError.__subclasses__())}
    untrusted = select(m.FAILED_POLLS, reason="~" + "|".join(sorted(reasons)))
    return [
        _Alert(
            "BadCertificates",
            f"increase({untrusted}[10m]) > 0",
            "0m",
            "critical",
            "Replies of the IC do not verify ({{ $labels.reason }}).",
            "An endpoint lies or is far behind, or this machine's clock is wrong. Nothing of it was delivered.",
        ),
        _Alert(
            "Unverified",
            f"increase({m.DOUBTED.name}[10m]) > 0",
            "0m",
            "warning",
            "Something does not verify ({{ $labels.reason }}), and is let through.",
            "`verification` is set to `report`. Find out who sends it, then set it to `enforce`.",
        ),
        _Alert(
            "MessagesLost",
            f"increase({m.GAPS.name}[10m]) > 0",
            "0m",
            "critical",
            "Messages of a canister are lost: their nonces are not consecutive.",
            "Canisters forget messages that nobody polls. The log names the canister.",
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
            "The IC is slow, or clients send faster than it takes their messages.",
        ),
        _Alert(
            "SlowGateway",
            f"{slow_here} > 0.25",
            "10m",
            "warning",
            "Messages of canisters wait {{ $value | humanizeDuration }} in the gateway (99 %).",
            "It has too little processor time, or very large replies.",
        ),
        _Alert(
            "LoopLate",
            f"{m.LOOP_LAG.name} > 0.5",
            "2m",
            "critical",
            "The event loop is {{ $value | humanizeDuration }} late.",
            "Something holds it up: look at plugins and at the processor.",
        ),
        _Alert(
            "ManyLimited",
            f"{limited} > 1",
            "10m",
            "info",
            "{{ $labels.scope }} turns away {{ $value | humanize }} a second.",
            "`icws limits` says who it is.",
        ),
    ]


def _room() -> list[_Alert]:
    return [
        _Alert(
            "NearlyFull",
            f"{m.CONNECTIONS.name} / {m.CONNECTIONS_LIMIT.name} > 0.9",
            "5m",
            "warning",
            "{{ $value | humanizePercentage }} of `gateway.max_connections` are taken.",
            "Raise it, or add a gateway.",
        ),
        _Alert(
            "FilesNearlyOut",
            f"{m.OPEN_FDS.name} / {m.MAX_FDS.name} > 0.9",
            "5m",
            "critical",
            "{{ $value | humanizePercentage }} of the files that the process may open are open.",
            "Raise LimitNOFILE above `gateway.max_connections`.",
        ),
        _Alert(
            "LimitForgets",
            f"increase({m.FORGOTTEN.name}[30m]) > 0",
            "0m",
            "info",
            "More addresses or clients come than {{ $labels.scope }} can remember.",
            "They may be one attacker. A limit in front of the gateway has to help.",
        ),
    ]


def _operation() -> list[_Alert]:
    return [
        _Alert(
            "ConfigRejected",
            f"{m.RELOAD_SUCCESSFUL.name} == 0",
            "1m",
            "warning",
            "The last change of the configuration was refused.",
            "The one before runs on. `icws status` says what was wrong.",
        ),
        _Alert(
            "PluginOff",
            f"{m.PLUGIN_OFF.name} > 0",
            "5m",
            "warning",
            "Plugin {{ $labels.plugin }} is left alone for failing.",
            "`icws plugins` has its last error.",
        ),
        _Alert(
            "CertificateEnds",
            f"{m.TLS_EXPIRY.name} - time() < 14 * 86400",
            "1h",
            "warning",
            "The certificate of `gateway.tls` ends in {{ $value | humanizeDuration }}.",
            "Replace the files; they are read again.",
        ),
        _Alert(
            "InternalErrors",
            f"increase({select(m.ERRORS, reason='internal')}[10m]) > 0",
            "0m",
            "warning",
            "The gateway itself failed.",
            "Its log has the traceback; please report it.",
        ),
    ]
