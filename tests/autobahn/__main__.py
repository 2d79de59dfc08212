"""Runs the Autobahn test suite against the listener: ``python -m tests.autobahn --python PYTHON2 [CASE …]``.

``PYTHON2`` is a Python 2.7 that has ``autobahntestsuite``; the suite runs on no later one.
"""

import argparse
import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.autobahn.echo import echoing
from tests.autobahn.report import PAGE, Verdict, read, table, with_table

AGENT = "icws"
EXCLUDED = ["12.*", "13.*"]
"""Compression, which the gateway does not offer: what it carries is signed and hashed, and does not shrink."""
PATIENCE_S = 1800.0


async def run(python: str, cases: list[str], folder: Path) -> list[Verdict]:
    """Run the cases; returns their verdicts. Raises RuntimeError where the suite does not run to its end."""
    async with echoing() as url:
        spec = {
            "outdir": str(folder / "report"),
            "servers": [{"agent": AGENT, "url": url}],
            "cases": cases,
            "exclude-cases": EXCLUDED,
            "exclude-agent-cases": {},
        }
        file = folder / "spec.json"
        file.write_text(json.dumps(spec))
        arguments = ("-m", "autobahntestsuite.wstest", "--mode", "fuzzingclient", "--spec", str(file))
        process = await asyncio.create_subprocess_exec(python, *arguments, stdout=PIPE, stderr=STDOUT, cwd=folder)
        try:
            output, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
        finally:
            if process.returncode is None:
                process.kill()
    if process.returncode:
        raise RuntimeError(f"the suite ended with {process.returncode}:\n{output.decode(errors='replace')[-2000:]}")
    return read(folder / "report")


def main() -> int:
    """Returns 1 where a case has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.autobahn", description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="*", default=["*"], help="as the suite has them, e.g. 7.*; all by default")
    parser.add_argument("--python", required=True, help="a Python 2.7 with autobahntestsuite")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        verdicts = asyncio.run(run(options.python, options.cases, Path(folder)))
    found = table(verdicts)
    print(found)
    for verdict in verdicts:
        if verdict.failed:
            print(f"{verdict.case}: {verdict.behavior}, close {verdict.closing}")
    if options.write:
        PAGE.write_text(with_table(PAGE.read_text(), found))
    return 1 if any(verdict.failed for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
