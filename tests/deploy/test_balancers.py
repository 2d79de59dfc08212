"""Balancers with the shipped configurations: clients get through, and a gateway that drains gets no more of them."""

import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from appliance.client import connect
from appliance.localnet.websocket.pingpong import APP_MESSAGE
from tests.control.plane import Plane
from tests.deploy.programs import DEPLOY, eventually, free_port, output, started

Tool = Callable[[str], str]

CHECKS = {
    "connects only": ("    option httpchk HEAD /readyz\n", ""),
    "HTTP/1.0 without Host": ("", ""),
    "HTTP/1.1 with a Host of its own": (
        "    option httpchk HEAD /readyz\n",
        "    option httpchk\n    http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host gateway\n",
    ),
}


async def conversation(plane: Plane, url: str) -> None:
    """A session through a balancer."""
    options = {"network_url": plane.localnet.url, "message_type": APP_MESSAGE}
    async with connect(f"{url}/v2", plane.canister_id, **options) as session:
        assert (await session.receive()).value["text"] == "ping"


def haproxy_config(plane: Plane, port: int, check: tuple[str, str]) -> str:
    text = (DEPLOY / "haproxy.cfg").read_text().replace(*check) if check[0] else (DEPLOY / "haproxy.cfg").read_text()
    text = text.replace("bind :80", f"bind 127.0.0.1:{port}").replace("inter 2s", "inter 50ms")
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{plane.control.listener.port}")
    assert "server two 127.0.0.1:8081\n" in text
    text = text.replace("    server two 127.0.0.1:8081\n", "")
    return text + "\nfrontend statistics\n    bind 127.0.0.1:{0}\n    stats enable\n    stats uri /\n"


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
async def test_haproxy(plane: Plane, tool: Tool, tmp_path: Path, check: tuple[str, str]) -> None:
    port, statistics = free_port(), free_port()
    file = tmp_path / "haproxy.cfg"
    file.write_text(haproxy_config(plane, port, check).replace("{0}", str(statistics)))
    assert (await output(tool("haproxy"), "-c", "-f", file))[0] == 0

    async def state() -> str:
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                rows = (await http.get(f"http://127.0.0.1:{statistics}/;csv")).text.splitlines()
        except httpx.TransportError:
            return "not there yet"
        names = rows[0].split(",")
        (row,) = [dict(zip(names, line.split(","), strict=False)) for line in rows if line.startswith("gateways,one,")]
        return row["status"] + row["check_status"]

    async def is_up() -> bool:
        return (await state()) in ("UPL4OK", "UPL7OK")

    async with started(tool("haproxy"), "-db", "-f", file):
        await eventually(is_up)
        await conversation(plane, f"ws://127.0.0.1:{port}")
        if "httpchk" not in file.read_text():
            return
        await plane.post("/v1/drain", {"deadline_s": 0})

        async def is_down() -> bool:
            return (await state()).startswith("DOWN")

        await eventually(is_down)


async def test_haproxy_sends_nobody_to_a_gateway_that_was_just_killed(plane: Plane, tool: Tool, tmp_path: Path) -> None:
    """It has the least connections of all, and no check has noticed yet."""
    port, file = free_port(), tmp_path / "haproxy.cfg"
    text = (DEPLOY / "haproxy.cfg").read_text().replace("bind :80", f"bind 127.0.0.1:{port}")
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{plane.control.listener.port}")
    file.write_text(text.replace("127.0.0.1:8081", f"127.0.0.1:{free_port()}").replace("inter 2s", "inter 1h"))

    async def listens() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                return (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code > 0
        except httpx.TransportError:
            return False

    async with started(tool("haproxy"), "-db", "-f", file):
        await eventually(listens)
        for _ in range(4):
            await conversation(plane, f"ws://127.0.0.1:{port}")


async def test_nginx(plane: Plane, tool: Tool, tmp_path: Path) -> None:
    port = free_port()
    text = (DEPLOY / "nginx.conf").read_text().replace("listen 80;", f"listen 127.0.0.1:{port};")
    text = text.replace("server 127.0.0.1:8080;", f"server 127.0.0.1:{plane.control.listener.port};")
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"    {name}_temp_path {tmp_path}/{name};\n" for name in names)
    text = text.replace("http {\n", f"http {{\n    access_log off;\n{temporary}", 1)
    file = tmp_path / "nginx.conf"
    file.write_text(f"daemon off;\npid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/error.log;\n{text}")
    nginx = [tool("nginx"), "-p", tmp_path, "-e", tmp_path / "error.log", "-c", file]
    code, said = await output(*nginx, "-t")
    assert code == 0, said

    async def is_up() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                return (await http.get(f"http://127.0.0.1:{port}/readyz")).json() == {"status": "ok"}
        except httpx.TransportError:
            return False

    async with started(*nginx):
        await eventually(is_up)
        await conversation(plane, f"ws://127.0.0.1:{port}")


async def test_nginx_with_tls(plane: Plane, tool: Tool, tmp_path: Path) -> None:
    port, certificate, key = free_port(), tmp_path / "tls.pem", tmp_path / "tls.key"
    make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    code, said = await output(tool("openssl"), *make, *names, "-keyout", key, "-out", certificate)
    assert code == 0, said
    text = (DEPLOY / "nginx-tls.conf").read_text().replace("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;")
    text = text.replace("server 127.0.0.1:8080;", f"server 127.0.0.1:{plane.control.listener.port};")
    text = text.replace("/etc/letsencrypt/live/ws.example.org/fullchain.pem", str(certificate))
    text = text.replace("/etc/letsencrypt/live/ws.example.org/privkey.pem", str(key))
    temporary = "".join(
        f"    {name}_temp_path {tmp_path}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = text.replace("http {\n", f"http {{\n    access_log off;\n{temporary}", 1)
    file = tmp_path / "nginx.conf"
    file.write_text(f"daemon off;\npid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/error.log;\n{text}")
    trusting = ssl.create_default_context(cafile=certificate)

    async def is_up() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False, verify=trusting) as http:
                return (await http.get(f"https://127.0.0.1:{port}/readyz")).json() == {"status": "ok"}
        except httpx.TransportError:
            return False

    async with started(tool("nginx"), "-p", tmp_path, "-e", tmp_path / "error.log", "-c", file):
        await eventually(is_up)
        options = {"network_url": plane.localnet.url, "message_type": APP_MESSAGE, "ssl": trusting}
        async with connect(f"wss://127.0.0.1:{port}/v2", plane.canister_id, **options) as session:
            assert (await session.receive()).value["text"] == "ping"


async def test_caddy(plane: Plane, tool: Tool, tmp_path: Path) -> None:
    port = free_port()
    text = (DEPLOY / "Caddyfile").read_text().replace("ws.example.org", f"http://127.0.0.1:{port}")
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{plane.control.listener.port}")
    file = tmp_path / "Caddyfile"
    file.write_text(f"{{\n\tadmin off\n\tauto_https off\n}}\n{text}")

    async def is_up() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                return (await http.get(f"http://127.0.0.1:{port}/readyz")).json() == {"status": "ok"}
        except httpx.TransportError:
            return False

    async with started(tool("caddy"), "run", "--config", file, "--adapter", "caddyfile"):
        await eventually(is_up)
        await conversation(plane, f"ws://127.0.0.1:{port}")


async def test_nginx_without_the_three_lines_is_told_what_to_write(plane: Plane, tool: Tool, tmp_path: Path) -> None:
    port = free_port()
    kept = [
        line
        for line in (DEPLOY / "nginx.conf").read_text().splitlines()
        if not any(word in line for word in ("proxy_http_version", "header Upgrade", "header Connection"))
    ]
    text = "\n".join(kept).replace("listen 80;", f"listen 127.0.0.1:{port};")
    text = text.replace("server 127.0.0.1:8080;", f"server 127.0.0.1:{plane.control.listener.port};")
    file = tmp_path / "nginx.conf"
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"    {name}_temp_path {tmp_path}/{name};\n" for name in names)
    text = text.replace("http {\n", f"http {{\n    access_log off;\n{temporary}", 1)
    file.write_text(f"daemon off;\npid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/error.log;\n{text}")
    handshake = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    answers: list[httpx.Response] = []

    async def answered() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                answers.append(await http.get(f"http://127.0.0.1:{port}/", headers=handshake))
        except httpx.TransportError:
            return False
        return True

    async with started(tool("nginx"), "-p", tmp_path, "-e", tmp_path / "error.log", "-c", file):
        await eventually(answered)
    assert answers[0].status_code == 426
    assert "have the proxy speak HTTP/1.1" in answers[0].text
