import json
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from tests.localnet.greeter import Greeter
from tests.localnet.managed import COUNTER_MODULE
from tests.localnet.wasm.modules import module

TALKER = module(
    """
(func (export "canister_update talk")
  (call $debug_print (i32.const 0) (i32.const 5)) (call $msg_reply_data_append (i32.const 8) (i32.const 6))
  (call $msg_reply))
(func (export "canister_update refuse") (call $trap (i32.const 0) (i32.const 5)))
(data (i32.const 0) "hello") (data (i32.const 8) "DIDL\\00\\00")
"""
)


class Browser:
    """What the page does."""

    def __init__(self, net: Localnet, client: aiohttp.ClientSession) -> None:
        self.net = net
        self.client = client

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.client.get(f"{self.net.url}/_/api/{path}", headers=headers) as response:
            return response.status, await response.json()

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        async with self.client.post(f"{self.net.url}/_/api/{path}", json=body, headers=headers) as response:
            return response.status, await response.json()

    async def call(self, canister: Principal, method: str, arg: str, identity: str = "developer") -> Any:
        body = {"canister": str(canister), "method": method, "arg": arg, "identity": identity}
        return (await self.post("call", body))[1]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with Localnet() as net, aiohttp.ClientSession() as client:
        yield Browser(net, client)


@pytest.mark.parametrize("file", ["", "page.css", "page.js"])
async def test_the_page_is_ours_and_asks_nobody_else(browser: Browser, file: str) -> None:
    async with browser.client.get(f"{browser.net.url}/_/{file}") as response:
        text = await response.text()
        assert response.status == 200
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "access-control-allow-origin" not in response.headers
    assert "http://" not in text
    assert "https://" not in text
    assert "innerHTML" not in text
    assert " style=" not in text
    assert " onclick=" not in text


async def test_the_way_to_the_page(browser: Browser) -> None:
    async with browser.client.get(f"{browser.net.url}/_") as response:
        assert str(response.url) == f"{browser.net.url}/_/"
        assert response.content_type == "text/html"
    for path in ("nothing", "index.html", "..%2fnet.py", "api/nothing"):
        async with browser.client.get(f"{browser.net.url}/_/{path}") as response:
            assert response.status in (404, 405)


async def test_canisters_are_listed_and_described(browser: Browser) -> None:
    net = browser.net
    greeter = net.create_canister(Greeter())
    counter = net.deploy("counter", COUNTER_MODULE)
    net.page.gateway_url = "ws://127.0.0.1:1"
    status, found = await browser.get("net")
    assert status == 200
    assert (found["root_key"], found["gateway_url"]) == (net.root_key.hex(), "ws://127.0.0.1:1")
    assert [(one["id"], one["name"], one["kind"]) for one in found["canisters"]] == [
        (str(greeter), "", "Python"),
        (str(counter), "counter", "Wasm"),
    ]
    _, one = await browser.get(f"canisters/{greeter}")
    assert {method["name"]: method["sample"] for method in one["methods"]} == {
        "count": "()",
        "greet": '("")',
        "whoami": "()",
    }
    assert (one["candid"], one["metadata"]) == (Greeter.did, {})
    _, one = await browser.get(f"canisters/{counter}")
    assert (one["controllers"], one["methods"]) == ([str(net.developer.principal)], [])
    assert one["memory"] == 2 * 65536


async def test_what_a_canister_publishes_is_shown(browser: Browser) -> None:
    body = b"\x11icp:public commit" + b"abc\xff"
    canister = browser.net.deploy("one", COUNTER_MODULE + b"\0" + bytes([len(body)]) + body)
    _, one = await browser.get(f"canisters/{canister}")
    assert one["metadata"] == {"commit": "abc\ufffd"}


async def test_methods_are_called_in_the_name_of_the_developer_or_of_nobody(browser: Browser) -> None:
    greeter, developer = browser.net.create_canister(Greeter()), browser.net.developer.principal
    assert await browser.call(greeter, "greet", '("you")') == {"reply": '("Hello, you!")'}
    assert [await browser.call(greeter, "count", "()") for _ in range(2)] == [
        {"reply": "(1 : nat)"},
        {"reply": "(2 : nat)"},
    ]
    assert await browser.call(greeter, "whoami", "()") == {"reply": f'(principal "{developer}")'}
    assert await browser.call(greeter, "whoami", "()", "anonymous") == {"reply": '(principal "2vxsx-fae")'}


async def test_what_goes_wrong_is_said(browser: Browser) -> None:
    greeter, talker = browser.net.create_canister(Greeter()), browser.net.deploy("talker", TALKER)
    assert "nat" in (await browser.call(greeter, "greet", "(7 : nat)"))["problem"]
    assert (await browser.call(greeter, "greet", "(7"))["problem"].startswith("line 1, column ")
    refused = (await browser.call(talker, "refuse", "()"))["reject"]
    assert (refused["reject_code"], refused["error_code"]) == (5, "IC0503")
    absent = (await browser.call(talker, "absent", "()"))["reject"]
    assert absent["error_code"] == "IC0536"
    assert await browser.get("canisters/aaaaa-aa") == (404, {"problem": "there is no canister aaaaa-aa"})
    assert (await browser.get("canisters/nonsense"))[0] == 400
    assert (await browser.get(f"canisters/{talker}/log?after={'9' * 5000}"))[0] == 400
    assert (await browser.get(f"canisters/{talker}/log?after=%D9%A3"))[0] == 400
    for wrong in ({"arg": "(\ud800)"}, {"method": "\ud800"}, {"canister": "\ud800"}):
        body = {"canister": str(talker), "method": "talk", "arg": "()", "identity": "developer", **wrong}
        assert (await browser.post("call", body))[0] == 400, list(wrong)
    large = {"canister": str(talker), "method": "talk", "arg": f'("{"a" * 2_200_000}")', "identity": "developer"}
    kind, data = {"content-type": "application/json"}, BytesIO(json.dumps(large).encode())
    async with browser.client.post(f"{browser.net.url}/_/api/call", data=data, headers=kind) as response:
        assert (response.status, "the limit is" in await response.text()) == (400, True)
    for body in ({}, [], {"canister": 7, "method": "a", "arg": "()", "identity": "developer"}):
        assert (await browser.post("call", body))[0] == 400


async def test_logs_are_shown_from_a_line_on(browser: Browser) -> None:
    talker = browser.net.deploy("talker", TALKER)
    assert await browser.call(talker, "talk", "()") == {"reply": "()"}
    await browser.call(talker, "refuse", "()")
    _, log = await browser.get(f"canisters/{talker}/log")
    assert [line[2] for line in log["lines"]] == ["hello", "[TRAP]: Canister called `ic0.trap` with message: 'hello'"]
    _, rest = await browser.get(f"canisters/{talker}/log?after={log['next']}")
    assert rest == {"next": log["next"], "lines": []}
    assert (await browser.get(f"canisters/{talker}/log?after=x"))[0] == 400


async def test_the_time_is_moved(browser: Browser) -> None:
    before = browser.net.replica.clock.now_ns()
    status, _ = await browser.post("fast-forward", {"seconds": 3600})
    assert status == 200
    assert browser.net.replica.clock.now_ns() - before >= 3600 * 10**9
    for seconds in (-1, 1e300, "1"):
        assert (await browser.post("fast-forward", {"seconds": seconds}))[0] == 400


async def test_other_pages_are_not_answered(browser: Browser) -> None:
    port = browser.net.url.rpartition(":")[2]
    body = {"seconds": 1}
    for headers in (
        {"Origin": "https://dapp.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": f"localhost.example:{port}"},
        {"Host": f"notlocalhost:{port}"},
        {"Host": f"rebound.example:{port}"},
        {"Host": f"127.0.0.1.example:{port}"},
        {"Host": "[::1"},
    ):
        assert (await browser.post("fast-forward", body, **headers))[0] == 403
        assert (await browser.get("net", **headers))[0] == 403
    for host in (f"localhost:{port}", f"dapp.localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert (await browser.post("fast-forward", body, Host=host, Origin=f"http://{host}"))[0] == 200
    url = f"{browser.net.url}/_/api/fast-forward"
    async with browser.client.post(url, data='{"seconds": 1}', headers={"Content-Type": "text/plain"}) as response:
        assert response.status == 415
    async with browser.client.options(url, headers={"Origin": "https://dapp.example"}) as response:
        assert "access-control-allow-origin" not in response.headers


# --- the chat page ---


@pytest.fixture
async def chat(browser: Browser, tmp_path: Path) -> Browser:
    """With a folder for the chat page, and beside it a file that is nobody's business."""
    (tmp_path / "secret.js").write_text("secret")
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in ("index.html", "chat.js", "chat.css", "chat.map"):
        (folder / name).write_text(name)
    browser.net.page.chat_folder = folder
    browser.net.page.gateway_url = "ws://127.0.0.1:8080"
    return browser


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("", "index.html", "text/html"),
        ("chat.js", "chat.js", "text/javascript"),
        ("chat.css", "chat.css", "text/css"),
    ],
)
async def test_the_chat_page_may_connect_to_the_gateway_and_nowhere_else(
    chat: Browser, path: str, name: str, kind: str
) -> None:
    async with chat.client.get(f"{chat.net.url}/chat/{path}") as response:
        assert (response.status, await response.text(), response.content_type) == (200, name, kind)
        policy = dict(part.split(" ", 1) for part in response.headers["content-security-policy"].split("; "))
    assert policy["connect-src"] == "'self' ws://127.0.0.1:8080"
    assert policy["default-src"] == "'none'"


@pytest.mark.parametrize("path", ["chat.map", "none.js", "..%2Fsecret.js", "%2e%2e/secret.js", ".js", "a/chat.js"])
async def test_other_files_are_not_there(chat: Browser, path: str) -> None:
    async with chat.client.get(URL(f"{chat.net.url}/chat/{path}", encoded=True)) as response:
        assert response.status in (404, 405)
        assert "secret" not in await response.text()


async def test_there_is_no_chat_page_without_one(browser: Browser) -> None:
    async with browser.client.get(f"{browser.net.url}/chat/") as response:
        assert response.status == 404
