import json
import tomllib

import pytest

from distribution import sbom
from distribution.source import TOP
from tests.needs import program

CRATE = {"type": "library", "bom-ref": "pkg:cargo/a@1", "name": "a", "version": "1"}
PACKAGE = {"name": "Pack_Age", "version": "2", "licence": "MIT"}


@pytest.fixture(scope="module")
def crates() -> dict[str, dict]:
    program("cargo")
    return {crate["name"]: crate for crate in sbom.crates(TOP)}


def test_crates_have_the_sums_of_the_lock(crates: dict[str, dict]) -> None:
    lock = tomllib.loads((TOP / "native" / "Cargo.lock").read_text())["package"]
    sums = {(package["name"], package["version"]): package.get("checksum") for package in lock}
    for crate in crates.values():
        (entry,) = crate["hashes"]
        assert entry["content"] == sums[crate["name"], crate["version"]]
        assert crate["licenses"]


def test_what_is_linked_is_required_and_what_only_compiles_is_excluded(crates: dict[str, dict]) -> None:
    scopes = {name: crate["scope"] for name, crate in crates.items()}
    assert {scopes[name] for name in ("blst", "hyper", "candid", "pyo3")} == {"required"}
    assert {scopes[name] for name in ("paste", "term", "lalrpop", "serde_derive")} == {"excluded"}
    assert not {"icws-core", "ic-certified-map"} & set(scopes)  # our own, and those of tests


def test_the_same_contents_are_the_same_bytes_in_any_order() -> None:
    other = {**CRATE, "bom-ref": "pkg:cargo/b@1", "name": "b"}
    texts = [sbom.document("1.0", crates, [PACKAGE], epoch=7) for crates in ([CRATE, other], [other, CRATE])]
    assert texts[0] == texts[1]
    changed = sbom.document("1.0", [CRATE], [PACKAGE], epoch=7)
    assert json.loads(changed)["serialNumber"] != json.loads(texts[0])["serialNumber"]


def test_everything_is_a_part_of_the_gateway() -> None:
    document = json.loads(sbom.document("1.0", [CRATE], [PACKAGE], epoch=0))
    (edges,) = document["dependencies"]
    assert edges["ref"] == document["metadata"]["component"]["bom-ref"]
    assert edges["dependsOn"] == [component["bom-ref"] for component in document["components"]]
    assert edges["dependsOn"] == ["pkg:cargo/a@1", "pkg:pypi/pack-age@2"]
    assert document["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"
