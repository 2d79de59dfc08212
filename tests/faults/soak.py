"""Runs schedules one after the other and prints what came of each: ``python -m tests.faults [NAME …]``.

A name may be a pattern: ``'bit_flip_*/talking'``. Without names all are run.
"""

import argparse
import asyncio
import fnmatch
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from tests.faults.harness import PATIENCE_S, Outcome, run
from tests.faults.report import PAGE, table, with_table
from tests.faults.schedule import names, schedule


def main() -> int:
    """Returns 1 where a schedule has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", help="schedules, as patterns; all of them without any")
    parser.add_argument("--list", action="store_true", help="print the names only")
    parser.add_argument("--patience", type=float, default=PATIENCE_S, metavar="SECONDS")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="schedules at a time")
    parser.add_argument("--like-mainnet", action="store_true", help="on a network of 13 replicas, ten times as fast")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    options = parser.parse_args()
    chosen = _chosen(options.names)
    if options.list:
        print("\n".join(chosen))
        return 0
    # Spawned, not forked: each process shall have an event loop and threads of its own from the beginning.
    context = multiprocessing.get_context("spawn")
    run_one = partial(_run, patience_s=options.patience, like_mainnet=options.like_mainnet)
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        outcomes = list(pool.map(run_one, chosen))
    found = table(outcomes)
    print(found)
    if options.write:
        PAGE.write_text(with_table(PAGE.read_text(), found, like_mainnet=options.like_mainnet))
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


def _run(name: str, patience_s: float, like_mainnet: bool) -> Outcome:
    began = time.monotonic()
    conditions = _mainnet_conditions(name) if like_mainnet else None
    outcome = asyncio.run(run(schedule(name), conditions=conditions, patience_s=patience_s))
    verdict = outcome.problems[0] if outcome.problems else "ok"
    took = f"{time.monotonic() - began:5.1f} s"
    print(f"{took}  {outcome.sessions} sessions  {name:45}  {verdict[:200]}", flush=True)
    return outcome


def _mainnet_conditions(seed: str) -> object:
    from appliance.localnet.subnet.conditions import Conditions

    return Conditions.like_mainnet(seed.encode()).faster(10)
