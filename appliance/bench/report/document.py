"""Results as JSON: what programs read, and what later runs are compared with."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from appliance.bench.factor import Step, factor_of
from appliance.bench.histogram import Histogram
from appliance.bench.result import Load, Result
from appliance.bench.target import BenchFailed

FORMAT = 1
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_FIGURES = ("rate", "cpu_us", "loop_cpu_us", "cores", "bytes_per_frame", "faults")


def document(results: list[Result], steps: list[Step]) -> dict[str, Any]:
    """Return the results with the machine that they were measured on, and what single steps take there."""
    entries = [_entry(result) for result in results]
    measured = {"factor": factor_of(steps), "steps_us": {step.name: step.here_us for step in steps}}
    return {"format": FORMAT, "icws": version("icws"), "machine": machine() | measured, "results": entries}


def machine() -> dict[str, Any]:
    """Describe this machine: processor, cores that this process may use, kernel and Python."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _entry(result: Result) -> dict[str, Any]:
    entry = asdict(result)
    entry["latency"] = {"counts": list(result.latency.counts.items()), "largest_ns": result.latency.largest_ns}
    entry["latency_ms"] = {name: ms(result.latency.quantile(share)) for name, share in QUANTILES.items()}
    return entry | {name: getattr(result, name) for name in _FIGURES}


def ms(value_ns: int | None) -> float | None:
    """Nanoseconds in milliseconds."""
    return None if value_ns is None else value_ns / 1e6


def results_of(data: Mapping[str, Any]) -> list[Result]:
    """Read what ``document`` made. Raises BenchFailed if it is something else."""
    try:
        if data["format"] != FORMAT:
            raise BenchFailed(f"the baseline has format {data['format']}, this version reads format {FORMAT}")
        return [_result(entry) for entry in data["results"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise BenchFailed(f"the baseline is no output of `icws bench --json`: {error!r}") from error


def _result(entry: Mapping[str, Any]) -> Result:
    counts = {int(index): int(count) for index, count in entry["latency"]["counts"]}
    latency = Histogram(counts, sum(counts.values()), entry["latency"]["largest_ns"])
    fields = {name: entry[name] for name in Result.__dataclass_fields__ if name not in ("latency", "load")}
    return Result(**fields, load=Load(**entry["load"]), latency=latency)
