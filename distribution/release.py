"""``make release VERSION=1.2.3``: checks, sets the version, makes the artefacts, tests them and tags the commit."""

import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from distribution import source, version
from distribution.source import TOP, git

_CHANGELOG = "CHANGELOG.md"
_HEADING = re.compile(r"^## (?P<version>\S+), (?P<day>not released|\d{4}-\d\d-\d\d)$", re.MULTILINE)


class ReleaseError(Exception):
    """Something is missing for a release."""


def dated(changelog: str, number: str, today: date) -> str:
    """The changelog with the day of this release. Raises ReleaseError if its first section is not the release's."""
    heading = _HEADING.search(changelog)
    if heading is None or heading["version"] != number:
        found = "no section" if heading is None else f"a section for {heading['version']}"
        raise ReleaseError(f"{_CHANGELOG} begins with {found}; it must begin with `## {number}, not released`")
    if heading["day"] != "not released":
        raise ReleaseError(f"{_CHANGELOG} says that {number} was released on {heading['day']}")
    following = _HEADING.search(changelog, heading.end())
    if not changelog[heading.end() : following.start() if following else None].strip():
        raise ReleaseError(f"{_CHANGELOG} has no line for {number}")
    return f"{changelog[: heading.start('day')]}{today.isoformat()}{changelog[heading.end('day') :]}"


def prepare(number: str, today: date, top: Path = TOP) -> str:
    """Commit the version and the day of the release. Returns the name of its tag. Raises ReleaseError."""
    if changes := source.uncommitted(top):
        raise ReleaseError(f"changes that are not committed: {', '.join(changes)}")
    tag = f"v{number}"
    if git("tag", "--list", tag, top=top):
        raise ReleaseError(f"the tag {tag} is there already")
    changelog = dated((top / _CHANGELOG).read_text(encoding="utf-8"), number, today)
    try:
        changed = version.write(number, top)
    except ValueError as error:
        raise ReleaseError(str(error)) from error
    (top / _CHANGELOG).write_text(changelog, encoding="utf-8")
    git("commit", "--quiet", "--message", f"Release {number}", "--", _CHANGELOG, *changed, top=top)
    return tag


def main(number: str) -> int:
    """Make a release of the checkout."""
    try:
        tag = prepare(number, datetime.now(UTC).date())
    except ReleaseError as error:
        sys.stderr.write(f"release: {error}\n")
        return 1
    for target in ("dist", "dist-test"):
        if subprocess.run(["make", target], cwd=TOP, check=False).returncode:  # noqa: S603, S607
            sys.stderr.write(f"release: `make {target}` failed. {git('rev-parse', '--short', 'HEAD')} has no tag.\n")
            return 1
    git("tag", "--annotate", "--message", f"icws {number}", tag)
    sys.stdout.write(f"{tag}: the artefacts are in dist/; publish the tag with `git push origin {tag}`\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
