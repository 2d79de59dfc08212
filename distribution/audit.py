"""``make audit``: known vulnerabilities, licences and sources of everything that is locked.

A check whose program or database is not here is skipped, and says so: that is no verdict.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from distribution.source import TOP

CRATES = ("native", "demo/canister")
LOCKS = ("gateway", "build")
_DENY = "distribution/deny.toml"
_NO_DATABASE = ("failed to fetch", "failed to load advisory database", "unable to fetch", "failed to acquire")


class Verdict(StrEnum):
    """What a check says."""

    CLEAN = "clean"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict of one check."""

    check: str
    verdict: Verdict
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.verdict}" + (f"\n{self.detail}" if self.detail else "")


def audit() -> Iterator[Finding]:
    """Every check, one after the other."""
    for folder in CRATES:
        # the advisories alone need a database, which the others must not miss
        yield _deny(folder, ["bans", "licenses", "sources"])
        yield _deny(folder, ["advisories"])
    for lock in LOCKS:
        yield _pip_audit(lock)


def _deny(folder: str, checks: list[str]) -> Finding:
    name = f"{folder}/Cargo.lock, {', '.join(checks)}"
    if shutil.which("cargo-deny") is None:
        return Finding(name, Verdict.SKIPPED, "cargo-deny is not installed")
    command = ["cargo", "deny", "--locked", "--manifest-path", f"{folder}/Cargo.toml", "--config", _DENY]
    done = subprocess.run([*command, "check", *checks], cwd=TOP, capture_output=True, text=True, check=False)  # noqa: S603
    return read_deny(name, done.returncode, done.stderr)


def read_deny(name: str, code: int, output: str) -> Finding:
    """The verdict of cargo-deny."""
    if code == 0:
        return Finding(name, Verdict.CLEAN)
    if any(words in output for words in _NO_DATABASE):
        return Finding(name, Verdict.SKIPPED, "the database of advisories cannot be reached")
    return Finding(name, Verdict.FAILED, output)


def _pip_audit(lock: str) -> Finding:
    name = f"distribution/locks/{lock}.txt, advisories"
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner=off"]
    command += ["--format=json", "--requirement", f"distribution/locks/{lock}.txt"]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)  # noqa: S603
    if "No module named pip_audit" in done.stderr:
        return Finding(name, Verdict.SKIPPED, "pip-audit is not installed")
    return read_pip_audit(name, done.stdout, done.stderr)


def read_pip_audit(name: str, report: str, errors: str) -> Finding:
    """The verdict of pip-audit, which counts what its database does not know as no finding."""
    try:
        packages = json.loads(report)["dependencies"]
    except ValueError:
        return Finding(name, Verdict.SKIPPED, f"pip-audit has no report: {errors.strip().splitlines()[-1:]}")
    found = [f"{each['name']} {each['version']}: {fault['id']}" for each in packages for fault in each.get("vulns", ())]
    if found:
        return Finding(name, Verdict.FAILED, "\n".join(found))
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    if unknown:
        return Finding(name, Verdict.SKIPPED, f"the database does not know {len(unknown)} of {len(packages)} packages")
    return Finding(name, Verdict.CLEAN)


def main() -> int:
    """Print each verdict. Returns 1 if a check failed."""
    failed = False
    for finding in audit():
        sys.stdout.write(f"{finding}\n")
        failed |= finding.verdict is Verdict.FAILED
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
