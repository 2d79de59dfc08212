"""Translates the flags and the environment of the reference gateway (ic-websocket-gateway, in Rust) into ours."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.ic.endpoints import is_mainnet

DEFAULT_NETWORK = "http://127.0.0.1:4943"
DEFAULT_ADDRESS = "0.0.0.0:8080"
DEFAULT_INTERVAL_MS = 100
DEFAULT_METRICS = "0.0.0.0:9000"
MIN_INTERVAL_MS = 5
MAX_INTERVAL_MS = 60_000
_LEVELS = {"trace": "debug", "debug": "debug", "info": "info", "warn": "warning", "error": "error", "off": "error"}
_OWN_TARGET = "ic_websocket_gateway"


@dataclass(frozen=True)
class ReferenceOptions:
    """What the reference gateway was started with; None stands for its default. ``log`` is the directive of its
    variable ``RUST_LOG_STDOUT``, ``data`` the folder with its ``key_pair``.
    """

    network: str | None = None
    address: str | None = None
    interval_ms: int | None = None
    metrics: str | None = None
    certificate: str | None = None
    key: str | None = None
    traces: str | None = None
    log: str | None = None
    data: Path = Path("data")

    def completed(self, environment: Mapping[str, str]) -> "ReferenceOptions":
        """With what the variables of its compose files add where no flag was given. Raises ValueError."""
        interval = environment.get("POLLING_INTERVAL")
        certificates = self.data / "certs" / "live" / environment.get("DOMAIN_NAME", "")
        with_tls = bool(environment.get("DOMAIN_NAME"))
        port = environment.get("LISTEN_PORT")
        if interval and not interval.isdecimal():
            raise ValueError(f"POLLING_INTERVAL is {interval!r}, and no number of milliseconds")
        return ReferenceOptions(
            network=self.network or environment.get("IC_URL"),
            address=self.address or (f"0.0.0.0:{port}" if port else None),
            interval_ms=self.interval_ms or (int(interval) if interval else None),
            metrics=self.metrics,
            certificate=self.certificate or (str(certificates / "fullchain.pem") if with_tls else None),
            key=self.key or (str(certificates / "privkey.pem") if with_tls else None),
            traces=self.traces or environment.get("OPENTELEMETRY_COLLECTOR_ENDPOINT") or None,
            log=self.log or environment.get("RUST_LOG_STDOUT"),
            data=self.data,
        )

    @property
    def interval(self) -> int:
        """Between polls in milliseconds, within our bounds."""
        return min(max(self.interval_ms or DEFAULT_INTERVAL_MS, MIN_INTERVAL_MS), MAX_INTERVAL_MS)

    @property
    def has_tls(self) -> bool:
        """Whether it served ``wss``: for that it wanted both files."""
        return self.certificate is not None and self.key is not None


def read_variables(text: str) -> dict[str, str]:
    """The variables of an ``.env`` file, without quotes and empty ones."""
    variables = {}
    for line in text.splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        value = value.strip().strip("'\"")
        if separator and value and not name.startswith("#"):
            variables[name.strip()] = value
    return variables


def configuration(options: ReferenceOptions) -> str:
    """A ``gateway.yaml`` that serves as the reference gateway did."""
    network = options.network or DEFAULT_NETWORK
    lines = [
        "# Written by `icws compat`; docs/moving.md says what differs from the reference gateway.",
        "version: 1",
        "watch: false",
        *_log(options.log),
        "gateway:",
        f"  listen: {_quoted(options.address or DEFAULT_ADDRESS)}",
        "  # Its key keeps the principal, which canisters and clients know.",
        f"  identity: {_quoted(str(options.data / 'key_pair'))}",
    ]
    if options.has_tls:
        lines.append(f"  tls: {{certificate: {_quoted(options.certificate)}, key: {_quoted(options.key)}}}")
    lines += [
        f"network: {{url: {_quoted(network)}, root_key: {'mainnet' if is_mainnet(network) else 'fetch'}}}",
        f"polling: {{min_interval: {options.interval}ms, max_interval: {options.interval}ms}}",
        "# It serves every canister that a client names. `deny`, and a list below, lets nobody else use this gateway.",
        "unlisted_canisters: allow",
        "canisters: []",
        "metrics:",
        f"  listen: {_quoted(options.metrics or DEFAULT_METRICS)}",
        "  reference_names: true  # beside our own; for dashboards that exist",
    ]
    return "\n".join(lines) + "\n"


def notes(options: ReferenceOptions) -> Iterator[str]:
    """What the operator has to know or to do, a sentence each."""
    if (options.certificate is None) != (options.key is None):
        yield "only one of the two TLS files is given: like the reference gateway, this serves without TLS"
    if options.interval_ms is not None and options.interval_ms != options.interval:
        yield f"a polling interval of {options.interval_ms} ms is out of bounds here: {options.interval} ms is written"
    if options.traces is not None:
        endpoint = re.sub(r"^grpc://", "http://", options.traces).replace(":4317", ":4318")
        yield f"traces: set OTEL_EXPORTER_OTLP_ENDPOINT={endpoint} (OTLP over HTTP), and install the extra `otel`"
    if (options.metrics or DEFAULT_METRICS).startswith("0.0.0.0"):  # noqa: S104 - compared
        yield "metrics are open to everybody who reaches their address, as before: metrics.listen: 127.0.0.1:9000"
    if not is_mainnet(options.network or DEFAULT_NETWORK):
        yield "the root key is fetched from the network, as before: for a local network only"


def _log(directive: str | None) -> Iterator[str]:
    """The level for the gateway itself: ``info,ic_websocket_gateway=debug`` has one for each part of it."""
    if not directive:
        return
    levels = dict(part.rpartition("=")[::2] for part in directive.replace(" ", "").lower().split(","))
    level = _LEVELS.get(levels.get(_OWN_TARGET, levels.get("", "")))
    if level is not None:
        yield f"log: {{level: {level}}}"


def _quoted(value: str | None) -> str:
    return "'" + (value or "").replace("'", "''") + "'"
