"""The decisions of ``icws-reconnect``, in Node: they are those of the Python client, and of the gateway's sentences."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from appliance.client.errors import ConnectionClosed
from appliance.client.reconnect import Verdict, verdict
from appliance.errors import CanisterFull, GatewayError, GatewayStopping, RateLimited, SlowClient
from appliance.errors.socket import PostponedByPlugin
from tests.interop import node
from tests.needs import lacks

BY_APPLICATION = 4001
"""ic-websocket-js reports the canister's close by a code of its own."""

UNTRUSTED = "Error receiving message"
SDKS = sorted(node.HERE.glob("ic-websocket-js-*"))
"""Projects with one of the SDK's versions each."""


def evaluated(web: Path, expression: str, values: object) -> Any:
    """What JavaScript makes of ``values``, with the package as ``m``."""
    program = f"const m = await import('icws-reconnect'); const values = {json.dumps(values)}; "
    program += f"console.log(JSON.stringify({expression}))"
    done = subprocess.run(  # noqa: S603
        ["node", "--input-type=module", "-e", program],  # noqa: S607
        cwd=web,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def test_a_code_means_the_same_as_in_the_python_client(web: Path) -> None:
    codes = [code for code in range(1000, 5000) if code != BY_APPLICATION]
    again = evaluated(web, "values.map(code => m.mayReconnect({ code, reason: '' }, true))", codes)
    assert again == [verdict(ConnectionClosed(code, "")) is Verdict.COME_BACK for code in codes]


def test_the_sdk_closes_for_reasons_of_its_own(web: Path) -> None:
    ends = [
        (BY_APPLICATION, "ClosedByApplication", True, False),
        (4000, "Ack message timeout", True, True),
        (4000, UNTRUSTED, True, False),
        (4000, UNTRUSTED, False, True),
        (1006, UNTRUSTED, True, True),
    ]
    again = evaluated(web, "values.map(([code, reason, wasOpen]) => m.mayReconnect({ code, reason }, wasOpen))", ends)
    assert again == [expected for *_, expected in ends]


@pytest.mark.parametrize("folder", SDKS, ids=lambda folder: str(folder.name))
def test_a_session_of_every_sdk_is_one(web: Path, tmp_path: Path, folder: Path) -> None:
    """By its types, and with the close reason that counts."""
    try:
        sdk = node.prepared(folder) / "node_modules" / "ic-websocket-js" / "lib" / "esm"
    except node.Unavailable as problem:
        lacks(problem, "browser")
    name = "IcWebSocket" if "{ IcWebSocket" in (sdk / "index.d.ts").read_text() else "default as IcWebSocket"
    (tmp_path / "session.ts").write_text(
        f'import type {{ {name} }} from "{sdk}/index";\n'
        f'import type {{ Session }} from "{web}/reconnect/src/reconnect";\n'
        "export const taken = (session: InstanceType<typeof IcWebSocket>): Session<any> => session;\n"
    )
    options = {"files": ["session.ts"], "extends": str(web / "tsconfig.json"), "compilerOptions": {"rootDir": "/"}}
    (tmp_path / "tsconfig.json").write_text(json.dumps(options))
    program = [str(web / "node_modules" / ".bin" / "tsc"), "--project", str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout) == (0, "")
    assert f'"{UNTRUSTED}"' in (sdk / "ic-websocket.js").read_text()


def test_every_hint_of_the_gateway_is_read(web: Path) -> None:
    hints: list[tuple[GatewayError, float]] = [
        (GatewayStopping(5.0), 5000),
        (GatewayStopping(0.25), 250),
        (GatewayStopping(), 0),
        (RateLimited("messages", "5/s", 10, 1_500_000_000), 1500),
        (PostponedByPlugin("p", "later", retry_after_s=30), 30_000),
        (SlowClient(10, 5), 0),
        (CanisterFull("chat", 5), 0),
    ]
    read = evaluated(web, "values.map(m.hintedWait)", [str(error) for error, _ in hints])
    assert read == [wait for _, wait in hints]


def test_the_snippet_of_its_readme_can_be_bundled(web: Path) -> None:
    """With every name that it imports, from packages as they are installed."""
    (snippet,) = re.findall(
        r"^```js\n(.*?)^```$", (web / "reconnect" / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    program = [str(web / "node_modules" / ".bin" / "esbuild"), "--bundle", "--format=esm", "--define:global=globalThis"]
    done = subprocess.run(program, cwd=web, input=snippet, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
