"""Prometheus with the shipped configuration: it scrapes, and it understands the rules."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.control.plane import Plane
from tests.deploy.programs import DEPLOY, eventually, free_port, output, started

Tool = Callable[[str], str]


async def test_promtool_takes_the_configuration_and_the_rules(tool: Tool) -> None:
    code, said = await output(tool("promtool"), "check", "config", DEPLOY / "prometheus.yml")
    assert code == 0, said
    assert "rules found" in said


async def test_promtool_has_nothing_against_the_metrics(plane: Plane, tool: Tool) -> None:
    process = await asyncio.create_subprocess_exec(
        tool("promtool"),
        *("check", "metrics"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(plane.control.metrics())
    assert process.returncode == 0, said.decode()


async def test_prometheus_scrapes_and_an_alert_fires_for_one_that_is_down(
    plane: Plane, tool: Tool, tmp_path: Path
) -> None:
    port, nobody = free_port(), free_port()
    target = plane.control.metrics_url.removeprefix("http://")
    text = (DEPLOY / "prometheus.yml").read_text().replace("interval: 15s", "interval: 1s")
    text = text.replace("127.0.0.1:9464", f"{target}\n          - 127.0.0.1:{nobody}")
    (tmp_path / "deploy").mkdir()
    (tmp_path / "alerts.yaml").write_text((DEPLOY.parent / "alerts.yaml").read_text())
    file = tmp_path / "deploy" / "prometheus.yml"
    file.write_text(text)
    options = [
        f"--config.file={file}",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]

    async def ask(path: str, **query: str) -> dict:
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                response = await http.get(f"http://127.0.0.1:{port}/api/v1/{path}", params=query)
        except httpx.TransportError:
            return {}
        return response.json()["data"] if response.status_code == 200 else {}

    async def is_scraped() -> bool:
        found = {each["scrapeUrl"]: each["health"] for each in (await ask("targets")).get("activeTargets", [])}
        return (
            found.get(f"http://{target}/metrics") == "up" and found.get(f"http://127.0.0.1:{nobody}/metrics") == "down"
        )

    async def is_pending() -> bool:
        alerts = (await ask("alerts")).get("alerts", [])
        down = [each for each in alerts if each["labels"]["alertname"] == "IcwsDown"]
        return [each["labels"]["instance"] for each in down] == [f"127.0.0.1:{nobody}"]

    async with started(tool("prometheus"), *options):
        await eventually(is_scraped)
        (info,) = (await ask("query", query="icws_info"))["result"]
        assert info["metric"]["principal"] == str(plane.gateway.principal)
        groups = (await ask("rules"))["groups"]
        assert all(rule["health"] in ("ok", "unknown") for group in groups for rule in group["rules"])
        await eventually(is_pending)
