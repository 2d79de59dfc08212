"""``python -m distribution``: make every artefact of the last commit, in ``dist/``."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from distribution import deb, environment, sbom, source, sums, version, wheel
from distribution.source import TOP


def make(out: Path, work: Path) -> str:
    """Make the artefacts in a folder, which is emptied first. Returns their sums.

    ``work`` keeps what was compiled. Raises CalledProcessError, OSError, ValueError.
    """
    commit = source.git("rev-parse", "HEAD")  # once: another one may follow while this is made
    epoch = source.epoch(commit=commit)
    tree = work / "source"
    source.export(tree, commit=commit)
    (work / source.COMMIT).write_text(f"{commit}\n")
    number = version.read(tree)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    crates = sbom.crates(tree)
    built = wheel.build(
        tree, work / "target", work / "wheel", bill=sbom.document(number, crates, [], epoch=epoch), epoch=epoch
    )
    wheels = [built, *environment.download(work / "wheels", tree / environment.LOCK.relative_to(TOP))]
    environment.build(work / "environment", wheels, installer="deb")
    packages = sbom.python_packages(work / "environment" / environment.SITE)
    bill = sbom.document(number, crates, packages, epoch=epoch)
    shutil.copy(built, out)
    shutil.copy(wheel.build_source(tree, work / "sdist", epoch=epoch), out)
    (out / f"icws-{number}.cdx.json").write_text(bill)
    deb.build(deb.Contents(tree, wheels, bill, number, epoch), work / "deb", out)
    _pack_npm(tree, out)
    return sums.write(out)


def _pack_npm(tree: Path, out: Path) -> None:
    web = tree / "demo" / "web"
    for command in (
        ["npm", "ci", "--silent", "--no-progress"],
        ["npx", "--no-install", "tsc", "-p", "reconnect"],
        ["npm", "pack", "--silent", "--workspace", "icws-reconnect", "--pack-destination", str(out)],
    ):
        subprocess.run(command, check=True, cwd=web, stdout=subprocess.DEVNULL)  # noqa: S603


def main() -> None:
    """Make the artefacts."""
    parser = argparse.ArgumentParser(prog="python -m distribution", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=TOP / "dist", help="folder of the artefacts")
    parser.add_argument("--work", type=Path, default=source.WORK, help="folder of what is compiled")
    options = parser.parse_args()
    if changes := source.uncommitted():
        sys.stderr.write(f"not packed, as they are not committed: {', '.join(changes)}\n")
    sys.stdout.write(make(options.out.resolve(), options.work.resolve()))


main()
