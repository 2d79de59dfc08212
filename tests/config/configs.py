"""Configurations for laws: two values of every key, and any combination of them."""

from typing import Any

from hypothesis import strategies as st

from appliance.config.fields.units import WRITTEN
from appliance.config.limits import RateLimits
from appliance.config.schema import Config

KEY = "0a" * 133
CANISTERS = ["bkyz2-fmaaa-aaaaa-qaaaq-cai", "aaaaa-aa", "bd3sg-teaaa-aaaaa-qaaba-cai"]

VALUES: dict[str, list[Any]] = {
    "version": [1],
    "watch": [True, False],
    "log.level": ["debug", "info"],
    "log.refusals": ["0/s", "1/m"],
    "log.format": ["json", "text"],
    "gateway.listen": ["127.0.0.1:1", "[::1]:2", "unix:/a.sock"],
    "gateway.generation": ["v1", "v0"],
    "gateway.workers": [2, 3],
    "gateway.tls": [None, {"certificate": "/a.pem", "key": "/a.key"}, {"certificate": "/a.pem", "key": "/b.key"}],
    "gateway.tls.certificate": ["/a.pem", "/b.pem"],
    "gateway.tls.key": ["/a.key", "/b.key"],
    "gateway.identity": ["/a.pem", "/b.pem"],
    "gateway.journal": ["/a.journal", "/b.journal"],
    "gateway.origins": [["https://a"], ["https://b", "https://a"], []],
    "gateway.trusted_proxies": [["unix"], ["10.0.0.0/8", "::1"]],
    "gateway.proxy_protocol": [True, False],
    "gateway.max_connections": [1, 7],
    "gateway.max_frame": ["1KiB", "1025"],
    "gateway.max_opening": ["1KiB", "1025"],
    "gateway.outbox": ["64KiB", "100000"],
    "gateway.health": [True, False],
    "gateway.ping_interval": ["1s", "1.1s"],
    "gateway.ping_timeout": ["1s", "2s"],
    "gateway.handshake_timeout": ["1s", "2s"],
    "gateway.open_timeout": ["1s", "10m"],
    "gateway.close_timeout": ["100ms", "0.333s"],
    "relay.order": ["strict", "paced"],
    "relay.window": [1, 2],
    "relay.queue": [1, 2],
    "relay.backlog": ["1s", "2s"],
    "relay.calls": [16, 17],
    "relay.bytes": ["32MiB", "33MiB"],
    "drain.rate": ["1/s", "90/m"],
    "drain.grace": ["1s", "2s"],
    "drain.deadline": ["1s", "1h"],
    "drain.return_grace": ["0s", "1m"],
    "network.url": [["http://a"], ["http://b", "http://a"], ["http://a", "http://b"]],
    "network.root_key": ["fetch", KEY],
    "network.timeout": ["1s", "100ms"],
    "network.max_reply": ["1KiB", "1MB"],
    "verification.certificates": ["report", "off"],
    "verification.envelopes": ["report", "off"],
    "verification.queries": ["report", "off"],
    "verification.max_query_age": ["2s", "1m"],
    "verification.share_per_ip": [0.1, 1.0],
    "verification.max_opening_age": ["1s", "5m"],
    "verification.max_certificate_age": ["1s", "1d"],
    "cluster": [None, {"url": "redis://a"}, {"url": "redis://a", "node": "b"}],
    "cluster.url": ["redis://a", "sentinel://a,b/main"],
    "cluster.name": ["a", "b"],
    "cluster.node": ["a", "b"],
    "cluster.password_file": ["/a.password", "env:B"],
    "cluster.ca": ["/a.pem", "/b.pem"],
    "cluster.claim_timeout": ["1ms", "2ms"],
    "cluster.timeout": ["1s", "2s"],
    "cluster.limit_timeout": ["1ms", "2ms"],
    "cluster.limit_interval": ["1ms", "2ms"],
    "cluster.limit_keys": [100, 200],
    "cluster.outgoing": ["a", "b"],
    "cluster.peer": ["unix:/a.sock", "unix:/b.sock"],
    "cluster.give_up_after": ["20s", "40s"],
    "cluster.registry": ["1MiB", "2MiB"],
    "cluster.claims": [5000, 6000],
    "cluster.share_polls": ["always", "never"],
    "cluster.memory": ["1MiB", "2MiB"],
    "cluster.audit_interval": ["1s", "2s"],
    "cluster.request_timeout": ["1s", "3s"],
    "cluster.request_age": ["10s", "20s"],
    "cluster.requests": [4, 5],
    "cluster.commands": [4, 5],
    "polling.min_interval": ["5ms", "0.0123456789s"],
    "polling.max_interval": ["2s", "5m"],
    "polling.max_backoff": ["2s", "5m"],
    "polling.max_silence": ["30s", None],
    "polling.timeout": ["1s", "2s"],
    "polling.budget": ["10/s", "60/m"],
    "limits.memory": ["100MiB", "50%"],
    **{
        f"limits.held_per_{by}.{name}": values
        for by in ("address", "principal", "canister")
        for name, values in (("bytes", ["1MiB", "7MB"]), ("connections", [1, 2]))
    },
    **{
        f"rate_limits.{scope}.{name}": values
        for scope in RateLimits.model_fields
        for name, values in (("rate", ["1/h", "0.1/s", "7/m"]), ("burst", [1, 2]), ("mode", ["shadow", "off"]))
    },
    **{
        f"rate_limits.{name}.scope": ["cluster"]
        for name, field in RateLimits.model_fields.items()
        if "scope" in getattr(field.annotation, "model_fields", {})
    },
    "limits.held_per_address.mode": ["shadow", "off"],
    "limits.held_per_principal.mode": ["shadow", "enforce"],
    "limits.held_per_canister.mode": ["shadow", "enforce"],
    "rate_limits.bytes_per_connection.rate": ["1KiB/s", "7MB/s"],
    "rate_limits.bytes_per_connection.burst": ["1MiB", "7MB"],
    "unlisted_canisters": ["allow", "deny"],
    "control.listen": [None, "unix:/c.sock", ["unix:/c.sock", "unix:/d.sock"]],
    "control.group": ["icws", "1000"],
    "control.mode": [600, "0666"],
    "control.hosts": [["icws.example"], []],
    "control.tokens": ["/tokens", "/more-tokens"],
    "control.history": [None, "/history"],
    "control.keep": [2, 3],
    "metrics.listen": ["127.0.0.1:9464", "unix:/m.sock"],
    "metrics.canisters": [0, 1],
    "metrics.reference_names": [True, False],
}
"""By key; the first is no default."""

ITEMS: dict[str, tuple[str, list[Any], dict[str, list[Any]]]] = {
    "canisters": (
        "id",
        CANISTERS,
        {
            "name": ["x"],
            "generation": ["v0", ["v1", "v2"]],
            "paused": [True],
            "max_clients": [1, 2],
            "polling": [{"min_interval": "10ms"}, {"min_interval": "10ms", "max_interval": "3s", "timeout": "1s"}],
            "rate_limits": [{"messages_per_client": {"burst": 3}}, {"messages_per_client": {"rate": "1/m"}}, {}],
        },
    ),
    "gateway.listeners": ("address", ["a:1", "[::1]:8081", "unix:/b.sock"], {"generation": ["v0", "v1"]}),
    "plugins": (
        "path",
        ["/audit_log.py", "/b.py", "/c.py"],
        {"config": [{"file": "x"}, {"deep": [1, {"y": None}]}], "timeout": ["1ms", "1s"]}
        | {"queue": [1, 2], "queue_bytes": ["1MiB", "2MiB"]},
    ),
}
"""What is repeated: the key that tells the items apart, its values, and the values of the others."""


def config(values: dict[str, Any]) -> Config:
    """By keys such as ``log.level``."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        section, *above = tree, *key.split(".")[:-1]
        for part in above:
            section = section.setdefault(part, {})
        section[key.split(".")[-1]] = value
    return Config.model_validate(tree, context=WRITTEN)


def _items(key: str) -> st.SearchStrategy[list[Any]]:
    identity, names, others = ITEMS[key]
    fields = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in others.items()})
    items = st.lists(st.tuples(st.sampled_from(names), fields), unique_by=lambda item: item[0])
    return items.filter(_one_name_each).map(lambda items: [{identity: name} | inner for name, inner in items])


def _one_name_each(items: list[tuple[str, dict[str, Any]]]) -> bool:
    return sum("name" in inner for _, inner in items) <= 1


def configs() -> st.SearchStrategy[Config]:
    """Any."""
    within = ("gateway.tls.", "cluster.")  # sections that may be absent are drawn as a whole
    plain = {key: st.sampled_from(values) for key, values in VALUES.items() if not key.startswith(within)}
    return st.fixed_dictionaries({}, optional=plain | {key: _items(key) for key in ITEMS}).map(config)
