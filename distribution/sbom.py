"""The bill of materials: a CycloneDX document of the crates and Python packages that the artefacts contain."""

import json
import subprocess
import tomllib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from distribution.environment import metadata
from distribution.wheel import TARGET

SPECIFICATION = "1.5"
_ROOT = "icws-native"
_NAMESPACE = uuid.UUID("7b0ff4f0-1c5c-5a37-9c0d-6f3f7d2f6a7e")


def document(version: str, crates: list[dict[str, Any]], packages: list[dict[str, str]], *, epoch: int) -> str:
    """The document as JSON. Equal contents make equal bytes: even the serial number is a hash of them."""
    components = [*sorted(crates, key=_reference), *sorted(map(_python, packages), key=_reference)]
    serial = uuid.uuid5(_NAMESPACE, json.dumps([version, components], sort_keys=True))
    root = {"type": "application", "bom-ref": "icws", "name": "icws", "version": version, "licenses": _licences("MIT")}
    contents = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPECIFICATION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPECIFICATION,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "component": root,
        },
        "components": components,
        "dependencies": [{"ref": "icws", "dependsOn": [component["bom-ref"] for component in components]}],
    }
    return json.dumps(contents, indent=2, sort_keys=True) + "\n"


def crates(source: Path) -> list[dict[str, Any]]:
    """The crates of the native module. Those of build scripts and macros are marked "excluded": they leave no code of
    their own. Raises CalledProcessError, OSError.
    """
    command = ["cargo", "metadata", "--format-version=1", "--locked", f"--filter-platform={TARGET}"]
    command += ["--manifest-path", str(source / "native" / "Cargo.toml")]
    graph = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603
    lock = tomllib.loads((source / "native" / "Cargo.lock").read_text())["package"]
    sums = {(package["name"], package["version"]): package.get("checksum") for package in lock}
    packages = {package["id"]: package for package in graph["packages"]}
    linked = set(_reachable(graph, packages, kinds=(None,)))
    components = []
    for key in _reachable(graph, packages, kinds=(None, "build")):
        package = packages[key]
        if checksum := sums[package["name"], package["version"]]:  # our own crates have none
            components.append(_crate(package, checksum, is_linked=key in linked))
    return components


def _reachable(graph: dict[str, Any], packages: dict[str, Any], *, kinds: tuple[str | None, ...]) -> Iterator[str]:
    """The ids of the packages that the native module depends on, by dependencies of these kinds."""
    nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
    waiting = [key for key, package in packages.items() if package["name"] == _ROOT]
    seen = set(waiting)
    while waiting:
        key = waiting.pop()
        yield key
        for dependency in nodes[key]["deps"]:
            follows = any(kind["kind"] in kinds for kind in dependency["dep_kinds"])
            is_macro = any("proc-macro" in target["kind"] for target in packages[dependency["pkg"]]["targets"])
            if follows and not (is_macro and "build" not in kinds) and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                waiting.append(dependency["pkg"])


def _crate(package: dict[str, Any], checksum: str, *, is_linked: bool) -> dict[str, Any]:
    purl = f"pkg:cargo/{package['name']}@{package['version']}"
    return {
        "type": "library",
        "bom-ref": purl,
        "purl": purl,
        "name": package["name"],
        "version": package["version"],
        "scope": "required" if is_linked else "excluded",
        "hashes": [{"alg": "SHA-256", "content": checksum}],
        "licenses": _licences(package["license"] or ""),
    }


def _python(package: dict[str, str]) -> dict[str, Any]:
    purl = f"pkg:pypi/{package['name'].lower().replace('_', '-').replace('.', '-')}@{package['version']}"
    return {
        "type": "library",
        "bom-ref": purl,
        "purl": purl,
        "name": package["name"],
        "version": package["version"],
        "scope": "required",
        "licenses": _licences(package["licence"]),
    }


def python_packages(site: Path) -> list[dict[str, str]]:
    """The packages in an environment, without the gateway itself. Raises OSError."""
    return [package for package in metadata(site) if package["name"] != "icws"]


def _licences(text: str) -> list[dict[str, Any]]:
    """The licence as the package names it, for many write no valid SPDX expression. None if that is a whole text."""
    first, _, rest = text.strip().partition("\n")
    return [{"license": {"name": first}}] if first and not rest else []


def _reference(component: dict[str, Any]) -> str:
    return str(component["bom-ref"])
