"""Commands against a gateway with its control plane, in one process."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from appliance.cli.main import main
from tests.control.plane import Plane, running


class Icws:
    """Runs commands at a gateway, in a thread: they block, and it answers in the loop of the test."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.environment: dict[str, str | None] = {"ICWS_CONFIG": str(plane.file), "COLUMNS": None}

    async def __call__(self, *arguments: object, code: int = 0, input: str | bytes | None = None) -> Result:
        """The result, which must have this exit code."""
        runner = CliRunner(env=self.environment)
        result = await asyncio.to_thread(runner.invoke, main, [str(argument) for argument in arguments], input=input)
        assert result.exit_code == code, (result.output, result.exception)
        assert "Traceback" not in result.output
        return result

    async def lines(self, *arguments: object, code: int = 0) -> list[str]:
        """What it prints."""
        return (await self(*arguments, code=code)).stdout.splitlines()

    async def rows(self, *arguments: object) -> list[list[str]]:
        """The words of each line of a table, without its heading."""
        return [line.split() for line in (await self.lines(*arguments))[1:]]

    async def json(self, *arguments: object, code: int = 0) -> Any:
        """What it prints for programs."""
        return json.loads((await self(*arguments, "--json", code=code)).stdout)


@pytest.fixture
async def icws() -> AsyncIterator[Icws]:
    async with running() as plane:
        yield Icws(plane)


@pytest.fixture
async def icws_tcp() -> AsyncIterator[Icws]:
    """At a gateway whose API is on a port."""
    async with running(tcp=True) as plane:
        icws = Icws(plane)
        icws.environment["ICWS_URL"] = plane.control.url
        yield icws
