"""``icws compat``: writes a configuration from what the reference gateway was started with."""

import os
from pathlib import Path

import click

from appliance.cli.configure.reference_gateway import ReferenceOptions, configuration, notes, read_variables
from appliance.cli.output.terminal import echo
from appliance.config.load import load
from appliance.errors import KeyUnusable
from appliance.ic.key_file import identity_file_problem, load_identity
from appliance.whole_files import write_new

MAX_VARIABLES = 1024**2


@click.command(short_help="Write gateway.yaml from flags of the reference gateway.")
@click.option("--ic-network-url", "network", metavar="URL", help="As given to the reference gateway.")
@click.option("--gateway-address", "address", metavar="IP:PORT", help="As given to it.")
@click.option("--polling-interval", "interval_ms", type=click.IntRange(min=1), metavar="MS", help="As given to it.")
@click.option("--prometheus-endpoint", "metrics", metavar="IP:PORT", help="As given to it.")
@click.option("--tls-certificate-pem-path", "certificate", metavar="FILE", help="As given to it.")
@click.option("--tls-certificate-key-pem-path", "key", metavar="FILE", help="As given to it.")
@click.option("--opentelemetry-collector-endpoint", "traces", metavar="URL", help="As given to it.")
@click.option(
    "--env-file",
    "variables",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The .env of its compose files: IC_URL, POLLING_INTERVAL, LISTEN_PORT, DOMAIN_NAME, and more.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default="data",
    show_default=True,
    help="Its data folder, with key_pair in it.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write, which must not exist.")
def compat(
    *,
    network: str | None,
    address: str | None,
    interval_ms: int | None,
    metrics: str | None,
    certificate: str | None,
    key: str | None,
    traces: str | None,
    variables: Path | None,
    data: Path,
    output: Path | None,
) -> None:
    """Write a gateway.yaml from the flags and the environment of the reference gateway.

    Give its flags as they are. RUST_LOG_STDOUT is read from the environment, flags come before --env-file. The file is
    printed, or written with --output; what is left to do is said beside it. The principal stays the same.
    """
    environment = {name: value for name in ("RUST_LOG_STDOUT",) if (value := os.environ.get(name))}
    if variables is not None:
        with variables.open(errors="replace") as stream:
            environment = read_variables(stream.read(MAX_VARIABLES)) | environment
    given = ReferenceOptions(network, address, interval_ms, metrics, certificate, key, traces, None, data)
    try:
        options = given.completed(environment)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    text = configuration(options)
    load(None, text=text, name="the configuration from these flags")  # raises ConfigError: a flag may be nonsense
    _write(text, output)
    for note in [*notes(options), *_of_key(data / "key_pair")]:
        echo(f"note: {note}", err=True)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        echo(text, nl=False)
        return
    write_new(output, text.encode(), mode=0o666)
    echo(f"wrote {output}; next: icws check {output}", err=True)


def _of_key(file: Path) -> list[str]:
    if not file.exists():
        return [f"{file} does not exist here: copy it from the reference gateway, or a new key and principal is made"]
    try:
        problem, principal = identity_file_problem(file), load_identity(file).principal
    except KeyUnusable as error:
        return [str(error)]
    return [f"the principal is {principal}, as before", *([problem] if problem else [])]
