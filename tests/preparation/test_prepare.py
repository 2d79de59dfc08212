"""Whatever ends a start is found by a check, with the same sentence; and what a reload refuses, by a plan."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main
from appliance.config.schema import Config, Control, Gateway, Log
from appliance.config.source import Source, start
from appliance.errors import ConfigError
from appliance.log import Logging
from appliance.preparation import files
from appliance.preparation.addresses import addresses
from appliance.service import operating
from tests.needs import program
from tests.unprivileged import hidden_folder, unprivileged

CURVE = "ec_paramgen_curve:prime256v1"
PLUGIN = "from appliance.plugins import hook\n@hook\ndef close(): pass\n"


@dataclass
class House:
    """A folder with everything that a gateway needs, and a port that another process has."""

    folder: Path
    taken: int

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def config(self, text: str) -> None:
        """A file with these sections, and addresses of its own where they name none."""
        listen = "" if "gateway:" in text else "gateway: {listen: '127.0.0.1:0'}\n"
        control = "" if "control:" in text else "control: {listen: 'unix:c.sock', history: null}\n"
        self.write("gateway.yaml", f"watch: false\n{text}\n{listen}{control}")

    @property
    def files(self) -> set[Path]:
        return set(self.folder.rglob("*"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate and its key, a key of RSA, and an encrypted key."""
    folder = tmp_path_factory.mktemp("keys")
    for arguments in (
        f"req -x509 -newkey ec -pkeyopt {CURVE} -nodes -subj /CN=localhost -keyout tls.key -out tls.pem",
        "genpkey -algorithm RSA -out rsa.pem",
        f"genpkey -algorithm EC -pkeyopt {CURVE} -out other.key",
        "pkey -in tls.key -aes128 -passout pass:secret -out encrypted.key",
    ):
        command = [program("openssl"), *arguments.split()]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)  # noqa: S603 - of this file
    return folder


@pytest.fixture
def house(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.chdir(tmp_path)
    for key in keys.iterdir():
        shutil.copy(key, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket(socket.AF_UNIX) as served:
        served.bind("served.sock")
        served.listen()
        it = House(tmp_path, taken.getsockname()[1])
        os.mkfifo("pipe")
        it.write("empty", "")
        it.write("garbage.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        it.write("tokens", "me admin 00\n")
        it.write("syntax.py", "def close(:\n")
        it.write("exits.py", "import os\nos._exit(3)\n")
        it.write("hookless.py", "x = 1\n")
        it.write("good.py", PLUGIN)
        yield it


TLS = "gateway: {{listen: '127.0.0.1:0', tls: {{certificate: {}, key: {}}}}}"
LONG = "d" * 120
FAULTS: dict[str, tuple[str, str, str]] = {
    "no certificate": (
        TLS.format("none.pem", "tls.key"),
        "gateway.tls.certificate",
        "none.pem cannot be read",
    ),
    "no key": (TLS.format("tls.pem", "none.key"), "gateway.tls.key", "none.key cannot be read: No such file"),
    "no certificate in it": (
        TLS.format("empty", "tls.key"),
        "gateway.tls.certificate",
        "is not a chain of cert",
    ),
    "no key in it": (TLS.format("tls.pem", "empty"), "gateway.tls.key", "empty is not a private key"),
    "another key": (
        TLS.format("tls.pem", "other.key"),
        "gateway.tls.key",
        "other.key is not the key of the",
    ),
    "pipe for a certificate": (TLS.format("pipe", "tls.key"), "gateway.tls.certificate", "is a pipe or a device"),
    "device for a key": (TLS.format("tls.pem", "/dev/zero"), "gateway.tls.key", "is a pipe or a device"),
    "encrypted key": (TLS.format("tls.pem", "encrypted.key"), "gateway.tls.key", "has a passphrase, which nobody"),
    "key of another algorithm": (TLS.format("tls.pem", "rsa.pem"), "gateway.tls.key", "rsa.pem is not the key of the"),
    "identity of garbage": ("gateway: {identity: garbage.pem}", "gateway.identity", "garbage.pem"),
    "identity of RSA": ("gateway: {identity: rsa.pem}", "gateway.identity", "rsa.pem"),
    "empty identity": ("gateway: {identity: empty}", "gateway.identity", "the file is empty"),
    "identity below a file": (
        "gateway: {identity: empty/id.pem}",
        "gateway.identity",
        "cannot be written: Not a",
    ),
    "journal below a file": ("gateway: {journal: empty/x}", "gateway.journal", "cannot be used: Not a directory"),
    "journal is a folder": ("gateway: {journal: .}", "gateway.journal", "cannot be used: Is a directory"),
    "tokens that are none": ("control: {tokens: tokens, listen: null}", "control.tokens", "64 hexadecimal digits"),
    "no tokens": ("control: {tokens: none, listen: null}", "control.tokens", "cannot be read: No such file"),
    "history is a file": ("control: {history: empty}", "control.history", "null keeps the history in memory only"),
    "history below a file": ("control: {history: empty/x}", "control.history", "null keeps the history in memory only"),
    "root key": ("network: {root_key: fetch}", "network.root_key", "must not be fetched; write mainnet"),
    "no network": ("network: {root_key: fetch, url: 'http://127.0.0.1:9'}", "network.root_key", "is the network of"),
    "port in use": (
        "gateway: {listen: '127.0.0.1:TAKEN'}",
        "gateway.listen",
        "another process listens on",
    ),
    "port of another listener in use": (
        "gateway: {listen: '127.0.0.1:0', listeners: [{address: '127.0.0.1:TAKEN'}]}",
        "gateway.listeners[127.0.0.1:TAKEN].address",
        "choose another port",
    ),
    "port of the control plane in use": (
        "control: {listen: '127.0.0.1:TAKEN', tokens: empty, history: null}",
        "control.listen",
        "`ss -ltnp 'sport = :TAKEN'` shows which",
    ),
    "address of another machine": ("gateway: {listen: '192.0.2.1:80'}", "gateway.listen", "no address of this machine"),
    "name of nobody": ("gateway: {listen: 'no.invalid:80'}", "gateway.listen", "write an IP address or localhost"),
    "long path": (f"gateway: {{listen: 'unix:{LONG}'}}", "gateway.listen", "choose a shorter one"),
    "long path of the control plane": (f"control: {{listen: 'unix:{LONG}'}}", "control.listen", "choose a shorter one"),
    "no folder": ("gateway: {listen: 'unix:none/a.sock'}", "gateway.listen", "does not exist; create it"),
    "no socket": ("gateway: {listen: 'unix:empty'}", "gateway.listen", "exists and is not a socket"),
    "socket of another process": (
        "gateway: {listen: 'unix:served.sock'}",
        "gateway.listen",
        "another process serves",
    ),
    "control folder below a file": ("control: {listen: 'unix:empty/x/c.sock'}", "control.listen", "Not a directory"),
    "no plugin": ("plugins: [{path: none.py}]", "plugins[none].path", "none.py cannot be read: No such file"),
    "plugin that is no Python": ("plugins: [{path: syntax.py}]", "plugins[syntax]", "syntax.py:1: this is not Python"),
    "plugin without a hook": ("plugins: [{path: hookless.py}]", "plugins[hookless]", "has no hook; there are"),
    "plugin without settings": ("plugins: [{path: good.py, config: {a: 1}}]", "plugins[good].config", "no Settings"),
    "plugin that ends the process": ("plugins: [{path: exits.py}]", "plugins[exits]", "ends the process that loads it"),
    "no module": ("plugins: [{module: no.such}]", "plugins[such]", "No module named"),
}
PASSING = {
    *("no network", "port in use", "port of another listener in use", "port of the control plane in use"),
    *("address of another machine", "name of nobody", "socket of another process"),
}
"""What another attempt may find otherwise: systemd starts again after exit code 1, and not after 78."""


def without_log(text: str) -> str:
    """Only what a command writes itself; lines of the log begin with the time."""
    return "".join(line for line in text.splitlines(keepends=True) if not re.match(r"\d{4}-", line))


def icws(*arguments: str) -> Result:
    return CliRunner(env={"ICWS_CONFIG": None}).invoke(main, arguments)


@pytest.mark.parametrize("fault", [each for each in FAULTS if each != "no network"])
def test_a_check_says_what_ends_a_start_and_creates_nothing(house: House, fault: str) -> None:
    text, key, words = (part.replace("TAKEN", str(house.taken)) for part in FAULTS[fault])
    house.config(text)
    before = house.files
    checked = icws("check")
    assert house.files == before
    started = icws("run")
    assert checked.stderr == without_log(started.stderr)
    assert checked.exit_code == started.exit_code == (1 if fault in PASSING else 78)
    assert "gateway.yaml:2:" in checked.stderr or key == "control.tokens"
    assert f": {key}: " in checked.stderr
    assert words in checked.stderr


def test_a_check_says_what_a_start_waits_for(house: House) -> None:
    """A network that does not answer yet ends no start, see ``tests/test_process.py``."""
    text, key, words = FAULTS["no network"]
    house.config(text)
    checked = icws("check")
    assert checked.exit_code == 1
    assert f": {key}: the key cannot be fetched" in checked.stderr
    assert words in checked.stderr


def test_every_fault_is_found_at_once(house: House) -> None:
    tls = "tls: {certificate: none.pem, key: tls.key}"
    plugins = "plugins: [{path: exits.py}, {path: none.py}]"
    house.config(f"gateway: {{listen: '127.0.0.1:{house.taken}', {tls}}}\n{plugins}")
    lines = icws("check").stderr.splitlines()
    keys = ["gateway.tls.certificate", "gateway.listen", "plugins[exits]", "plugins[none].path"]
    assert [line.split(": ")[1] for line in lines] == keys


@pytest.mark.parametrize("fault", [each for each in FAULTS if "history" not in each])
async def test_a_plan_says_what_a_reload_refuses(house: House, fault: str) -> None:
    text = FAULTS[fault][0].replace("TAKEN", str(house.taken))
    house.config("")
    begun = start(Source(house.folder / "gateway.yaml"))
    async with operating(begun, Logging(Log(level="error"))) as (_, control):
        house.config(text)
        before = house.files
        reloads = control.reloads
        _, planned = await reloads.review(allow_restart=True)
        assert house.files == before
        with pytest.raises(ConfigError) as refused:
            await reloads.apply(trigger="api", actor="me", allow_restart=True)
        assert str(planned) == str(refused.value)
        assert reloads.revision == 1


async def test_what_the_running_gateway_holds_counts_as_free(house: House) -> None:
    plugin = "unlisted_canisters: allow\nplugins: [{path: good.py}]"
    house.config(plugin)
    begun = start(Source(house.folder / "gateway.yaml"))
    async with operating(begun, Logging(Log(level="error"))) as (service, control):
        house.config(f"gateway: {{listen: '127.0.0.1:{service.listener.port}'}}\n{plugin}")
        assert (await control.reloads.review())[1] is None
        added = house.folder / "added.sock"
        house.config(f"control: {{listen: ['unix:c.sock', 'unix:{added.name}'], history: null}}\n{plugin}")
        assert (await control.reloads.review(allow_restart=True))[1] is None
        house.config(f"gateway: {{listen: '127.0.0.1:{service.listener.port}'}}\n{plugin}")
        checked = await asyncio.to_thread(icws, "check")
        assert (checked.stderr, checked.exit_code) == ("", 0), checked.output
    assert (await asyncio.to_thread(icws, "check")).exit_code == 0  # and so it is when nobody holds it


def test_a_setting_is_checked_as_it_is_run(house: House) -> None:
    house.config("")
    checked, started = (icws(command, "--set", "gateway.identity=rsa.pem") for command in ("check", "run"))
    assert checked.stderr == started.stderr
    assert checked.stderr.startswith("setting gateway.identity: gateway.identity: ")


def test_only_the_text_is_checked_where_that_is_asked_for(house: House) -> None:
    house.config(FAULTS["no plugin"][0])
    assert icws("check", "--no-files").exit_code == 0


def test_the_plugin_example_of_the_shipped_file_can_run(house: House) -> None:
    shipped = Path(__file__).resolve().parents[2]
    lines = (shipped / "gateway.yaml").read_text().splitlines()
    first = lines.index("# plugins:")
    last = lines.index("", first)
    example = [line.removeprefix("# ") for line in lines[first:last]]
    house.write("gateway.yaml", "\n".join([*lines[: first - 1], *example, ""]))
    (house.folder / "plugins").symlink_to(shipped / "plugins")
    checked = icws("check", "--set", "gateway.listen=127.0.0.1:0")
    assert checked.exit_code == 0, checked.output
    assert not (house.folder / "data").exists()


async def test_what_this_user_may_not_see_is_a_problem_with_its_key() -> None:
    with hidden_folder() as hidden:
        config = Config(
            gateway=Gateway(listen=f"unix:{hidden}/gateway.sock", journal=hidden / "journal"),
            control=Control(listen=[f"unix:{hidden}/run/control.sock"], history=hidden / "history"),
        )
        with unprivileged():
            found = [*files.journal(config), *files.history(config)]
            found += [each async for each in addresses(config, lambda _: False, config.control.listen)]
    denied = "Permission denied"
    assert {each.key: each.problem for each in found} == {
        "gateway.journal": f"the journal {hidden}/journal cannot be used: {denied}; choose another place",
        "control.history": f"{hidden}/history cannot be used: {denied}; null keeps the history in memory only",
        **{
            key: f"{path} cannot be created: {denied}; choose a folder that the gateway's user may write to"
            for key, path in {
                "gateway.listen": f"{hidden}/gateway.sock",
                "control.listen": f"{hidden}/run/control.sock",
            }.items()
        },
    }
