from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.configure.reference_gateway import ReferenceOptions, configuration, read_variables
from appliance.cli.main import main
from appliance.config.load import load
from appliance.crypto import SigningKey
from appliance.ic.key_file import load_identity

SEED = bytes(range(32))
KEY_PAIR = bytes.fromhex("3053020101300506032b657004220420") + SEED
"""How a PKCS#8 v2 document of Ed25519 begins, as the reference gateway writes it; the public key follows."""
TEXTS = st.none() | st.sampled_from(["a", "/tls/it's.pem", "x: y", "#"])


def icws(*arguments: object, **environment: str) -> Result:
    return CliRunner(env={"RUST_LOG_STDOUT": None, **environment}).invoke(main, ["compat", *map(str, arguments)])


def test_without_flags_it_serves_as_the_reference_gateway_does_without(tmp_path: Path) -> None:
    result = icws("--data", tmp_path)
    assert result.exit_code == 0
    config = load(None, text=result.stdout).config
    assert (config.gateway.listen, config.network.url) == ("0.0.0.0:8080", ["http://127.0.0.1:4943"])
    assert (config.polling.min_interval, config.polling.max_interval) == (0.1, 0.1)
    assert (config.metrics.listen, config.metrics.reference_names) == ("0.0.0.0:9000", True)
    assert (config.unlisted_canisters, config.network.root_key) == ("allow", "fetch")
    assert "key_pair does not exist here" in result.stderr


def test_every_flag_becomes_its_key(tmp_path: Path) -> None:
    flags = "--ic-network-url https://icp-api.io --gateway-address 127.0.0.1:9001 --polling-interval=250"
    flags += (
        " --prometheus-endpoint 127.0.0.1:9002 --tls-certificate-pem-path /a.pem --tls-certificate-key-pem-path /a.key"
    )
    flags += " --opentelemetry-collector-endpoint grpc://collector:4317"
    result = icws(*flags.split(), "--data", tmp_path, RUST_LOG_STDOUT="warn,ic_websocket_gateway=trace")
    assert result.exit_code == 0, result.output
    config = load(None, text=result.stdout).config
    assert (config.network.url, config.network.root_key) == (["https://icp-api.io"], "mainnet")
    assert (config.gateway.listen, config.metrics.listen) == ("127.0.0.1:9001", "127.0.0.1:9002")
    assert (config.polling.max_interval, config.log.level) == (0.25, "debug")
    assert config.gateway.tls is not None
    assert (config.gateway.tls.certificate, config.gateway.tls.key) == (Path("/a.pem"), Path("/a.key"))
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318" in result.stderr


def test_the_variables_of_its_compose_files(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        '# the url\nIC_URL=https://icp0.io\nPOLLING_INTERVAL="200"\nLISTEN_PORT=443\nDOMAIN_NAME=ws.example\n'
        "OPENTELEMETRY_COLLECTOR_ENDPOINT=\nRUST_LOG_STDOUT=ic_websocket_gateway=error\n"
    )
    result = icws("--env-file", tmp_path / ".env", "--data", tmp_path, "--polling-interval", 300)
    config = load(None, text=result.stdout).config
    assert (config.gateway.listen, config.network.url) == ("0.0.0.0:443", ["https://icp0.io"])
    assert (config.polling.max_interval, config.log.level) == (0.3, "error")
    assert config.gateway.tls is not None
    assert config.gateway.tls.key == tmp_path / "certs" / "live" / "ws.example" / "privkey.pem"
    assert "OTEL" not in result.stderr


def test_the_key_pair_keeps_its_principal_and_its_mode_is_looked_at(tmp_path: Path) -> None:
    public = SigningKey.from_secret("ed25519", SEED).public_key[-32:]
    (tmp_path / "key_pair").write_bytes(KEY_PAIR + bytes.fromhex("a123032100") + public)
    (tmp_path / "key_pair").chmod(0o644)
    result = icws("--data", tmp_path, "-o", tmp_path / "gateway.yaml")
    assert result.exit_code == 0, result.output
    identity = load(tmp_path / "gateway.yaml").config.gateway.identity
    assert f"the principal is {load_identity(identity).principal}, as before" in result.stderr
    assert f"run: chmod 600 {tmp_path}/key_pair" in result.stderr
    assert icws("--data", tmp_path, "-o", tmp_path / "gateway.yaml").exit_code == 1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--polling-interval", "1"], "5 ms is written"),
        (["--tls-certificate-pem-path", "/a.pem"], "serves without TLS"),
        (["--ic-network-url", "http://replica:4943"], "for a local network only"),
        ([], "metrics are open to everybody"),
    ],
)
def test_what_cannot_be_as_before_is_said(tmp_path: Path, flags: list[str], words: str) -> None:
    result = icws(*flags, "--data", tmp_path)
    assert words in result.stderr
    assert load(None, text=result.stdout)


def test_nonsense_is_refused_with_the_key_that_it_would_be(tmp_path: Path) -> None:
    result = icws("--gateway-address", "nowhere", "--data", tmp_path)
    assert result.exit_code == 78
    assert "gateway.listen" in result.stderr
    (tmp_path / ".env").write_text("POLLING_INTERVAL=often")
    assert "POLLING_INTERVAL" in icws("--env-file", tmp_path / ".env").stderr


@given(
    st.builds(ReferenceOptions, interval_ms=st.none() | st.integers(1, 10**6), certificate=TEXTS, key=TEXTS, log=TEXTS)
)
def test_whatever_is_given_the_result_can_be_read(options: ReferenceOptions) -> None:
    config = load(None, text=configuration(options)).config
    assert (config.gateway.tls is not None) == options.has_tls
    if config.gateway.tls is not None:
        assert str(config.gateway.tls.key).endswith(str(options.key))


def test_variables_are_read_as_compose_does() -> None:
    assert read_variables("A=1\nexport B='two'\n#C=3\nD=\n\nnothing\nE=a=b") == {"A": "1", "B": "two", "E": "a=b"}
