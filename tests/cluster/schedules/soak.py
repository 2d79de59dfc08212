"""Runs schedules and prints what came of each: ``python -m tests.cluster.schedules [NAME …]``.

A name may be a pattern: ``'engine_*/*'``. Without names all are run.
"""

import argparse
import asyncio
import fnmatch
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tests.cluster.schedules.harness import Outcome, run
from tests.cluster.schedules.report import PAGE, table, with_table
from tests.cluster.schedules.schedule import names, schedule


def main() -> int:
    """Returns 1 where a schedule has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.schedules", description=__doc__)
    parser.add_argument("names", nargs="*", help="schedules, as patterns; all of them without any")
    parser.add_argument("--list", action="store_true", help="print the names only")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="schedules at a time")
    parser.add_argument("--release", type=Path, metavar="FOLDER", help="a checkout with its native core, for node c")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    options = parser.parse_args()
    chosen = _chosen(options.names)
    if options.list:
        print("\n".join(chosen))
        return 0
    # Spawned, not forked: each process shall have an event loop and threads of its own from the beginning.
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        outcomes = list(pool.map(partial(_run, release=options.release), chosen))
    found = table(outcomes)
    print(found)
    if options.write:
        PAGE.write_text(with_table(PAGE.read_text(), found))
    failed = [outcome for outcome in outcomes if outcome.problems]
    print(f"{len(chosen) - len(failed)} of {len(chosen)} schedules are as they should be")
    for outcome in failed:
        print(f"\n{outcome.report()}")
    return 1 if failed else 0


def _chosen(patterns: list[str]) -> list[str]:
    if not patterns:
        return list(names())
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = fnmatch.filter(names(), pattern)
        chosen.update(dict.fromkeys(found or [schedule(pattern).name]))
    return list(chosen)


def _run(name: str, release: Path | None) -> Outcome:
    began = time.monotonic()
    outcome = asyncio.run(run(schedule(name), release))
    verdict = outcome.problems[0] if outcome.problems else "ok"
    took = f"{time.monotonic() - began:5.1f} s"
    print(f"{took}  {outcome.sessions} sessions  {outcome.messages}  {name:30}  {verdict[:300]}", flush=True)
    return outcome
