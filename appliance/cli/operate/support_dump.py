"""``icws support-dump``: one archive with what somebody needs who is to help."""

import gzip
import io
import tarfile
import time
from pathlib import Path
from typing import Any

import click

from appliance.cli.diagnosis.redaction import Redaction
from appliance.cli.diagnosis.support_dump import Part, parts
from appliance.cli.output.formatting import counted
from appliance.cli.output.terminal import echo, json_text
from appliance.cli.remote.api_options import RemoteCommand, client, config_file
from appliance.whole_files import write_new

ABOUT = """\
Written by `icws support-dump`.

Not in it: private keys, tokens, passwords in URLs, settings of plugins, values of variables of the environment, and
payloads of messages, which are never recorded. IP addresses of clients are numbers ("client-3").
In it: the configuration with its addresses and canisters, principals of clients, names of operators in the audit log,
and the web origins and paths of refused connections. Look through it before you publish it.

config.json is what a start would read now; gateway/config.json is what runs.
"""


@click.command(cls=RemoteCommand, short_help="Write an archive with which others can help.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, which must not exist. [default: icws-support-TIME.tar.gz]",
)
def support_dump(output: Path | None) -> None:
    """Write an archive with which others can help.

    It has the configuration with the origin of each value, the latest changes of it, metrics, the stories of the latest
    sessions, versions, the systemd unit with its exposure, and facts about this machine. Secrets and the addresses of
    clients are taken out. Works without a running gateway too, with less in it.
    """
    file = output or Path(time.strftime("icws-support-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime()))
    found = list(parts(config_file(), client))
    # For its owner alone: nobody has looked through it yet.
    write_new(file, _archive(file.name.partition(".")[0], _redacted(found)), mode=0o600)
    echo(f"{file}: {counted(len(found), 'file')}; its README.txt says what was taken out and what was not")


def _redacted(found: list[Part]) -> list[tuple[str, bytes]]:
    redaction = Redaction()
    for _, content in found:
        redaction.learn(content)
    return [("README.txt", ABOUT.encode()), *((name, _bytes(redaction, content)) for name, content in found)]


def _bytes(redaction: Redaction, content: Any) -> bytes:
    if isinstance(content, str):
        return redaction.text(content).encode()
    return f"{json_text(redaction.apply(content))}\n".encode()


def _archive(folder: str, contents: list[tuple[str, bytes]]) -> bytes:
    """Files below a folder, packed."""
    data = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=data, mode="wb", filename="") as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in contents:
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mtime, member.mode = len(content), int(time.time()), 0o600
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()
