"""Fuzzes the decoders of the native core with libFuzzer: ``python -m tests.fuzz [TARGET…]``.

It needs a nightly compiler and cargo-fuzz. Without them the same targets run on the stable compiler, with inputs that
are mutated blindly: libFuzzer keeps those that reach new code.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from appliance.bench.processes import Usage

NATIVE = Path(__file__).resolve().parents[2] / "native"
FUZZ = NATIVE / "fuzz"
TARGETS = sorted(path.stem for path in (FUZZ / "fuzz_targets").glob("*.rs"))
HOST = "x86_64-unknown-linux-gnu"
MAX_INPUT = 64 * 1024
SLOWEST_S = 10
"""What one input may take."""
MAX_MEMORY_MIB = 1024
_LOOK_S = 0.5
_RUNS = re.compile(r"#(\d+)\s")
_OPTIONS = ("--fuzz-dir", str(FUZZ), "--sanitizer", "none", "--features", "libfuzzer")


def has_libfuzzer() -> bool:
    """Whether a nightly compiler and cargo-fuzz are there."""
    cargo = shutil.which("cargo")
    if cargo is None or shutil.which("cargo-fuzz") is None:
        return False
    asked = subprocess.run([cargo, "+nightly", "--version"], check=False, capture_output=True)  # noqa: S603
    return asked.returncode == 0


def build(folder: Path) -> Path:
    """Build all targets and write their corpus; returns the folder of the binaries. Raises CalledProcessError."""
    cargo = shutil.which("cargo") or "cargo"
    target = folder / "target"
    # Optimising all crates together takes minutes for each of the binaries.
    alone = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}
    _run([cargo, "+nightly", "fuzz", "build", *_OPTIONS, "--target-dir", str(target)], **alone)
    _run([cargo, "run", "--quiet", "--package", "icws-fuzz", "--example", "corpus", str(folder / "corpus")])
    return target / HOST / "release"


def _run(command: list[str], **environment: str) -> None:
    subprocess.run(command, check=True, cwd=NATIVE, env=os.environ | environment)  # noqa: S603


def fuzz(binary: Path, folder: Path, cpu_s: float) -> bool:
    """Run one target for so many seconds of CPU; returns whether it found nothing."""
    log, found = folder / f"{binary.name}.log", folder / f"{binary.name}-"
    corpus = folder / "corpus" / binary.name
    limits = (f"-max_len={MAX_INPUT}", f"-timeout={SLOWEST_S}", f"-rss_limit_mb={MAX_MEMORY_MIB}")
    command = [str(binary), str(corpus), *limits, f"-artifact_prefix={found}"]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:  # noqa: S603
        used = 0.0
        while process.poll() is None and used < cpu_s:
            time.sleep(_LOOK_S)
            used = _cpu_s(process.pid, used)
        is_stopped = process.poll() is None
        if is_stopped:
            process.send_signal(signal.SIGINT)
    text = log.read_text(errors="replace")
    runs = _RUNS.findall(text)
    verdict = "nothing" if is_stopped else f"ended by itself: see {log}"
    print(f"{binary.name:20} {used:6.0f} s of CPU   {int(runs[-1]) if runs else 0:12,} inputs   {verdict}", flush=True)
    return is_stopped


def _cpu_s(pid: int, before: float) -> float:
    try:
        return Usage.of(pid).cpu_s
    except OSError:  # it has ended
        return before


def main() -> int:
    """Returns 1 where an input was found that fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--seconds", type=float, default=600, help="of CPU for each target")
    parser.add_argument("--folder", type=Path, default=FUZZ / "target", help="for binaries, corpus and findings")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if not has_libfuzzer():
        print("cargo-fuzz or a nightly compiler is missing: the targets run on the stable one, with blind mutation")
        cargo = shutil.which("cargo") or "cargo"
        inputs = str(round(options.seconds * 100))
        _run([cargo, "test", "--release", "--package", "icws-fuzz", "--test", "mutated"], ICWS_FUZZ_INPUTS=inputs)
        return 0
    folder = options.folder.resolve()
    binaries = build(folder)
    results = [fuzz(binaries / name, folder, options.seconds) for name in options.targets or TARGETS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
