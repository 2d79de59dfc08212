"""The wheel in an empty environment, with the newest versions that it allows: those that a user gets."""

import os

from tests.client.snippets import SNIPPETS, talk
from tests.distribution.installed.conftest import outside, run


async def test_a_newcomer_installs_the_wheel_and_talks_to_a_canister(artefacts, empty, tmp_path):
    """The demo, and the first snippet of docs/client.md at a gateway whose certificate is of a private authority."""
    wheel = artefacts.only("icws-*.whl")
    empty.run("pip", "install", "--quiet", str(wheel))
    told = dict(line.split(":", 1) for line in empty.run("icws", "--version", "--verbose").splitlines()[1:])
    assert told["installed by"].strip() == f"pip, {wheel}"
    assert str(empty.folder) in told["Python"]
    empty.run("icws", "demo", "--once", "--port", "0", "--ic-port", "0", cwd=tmp_path)
    code, printed, problem = await talk(SNIPPETS[0], tmp_path, empty.python, outside())
    assert (code, problem) == (0, "")
    assert printed == "hello\n"


def test_the_extra_is_installed_as_the_message_advises(artefacts, empty, tmp_path):
    empty.run("pip", "install", "--quiet", str(artefacts.only("icws-*.whl")))
    load = "from appliance.localnet.wasm.loader import new_wasm_canister as new\n"
    advice = empty.run(
        "python", "-c", f"{load}try: new(b'')\nexcept Exception as error: print(error)", cwd=tmp_path
    ).partition("not installed: ")[2]
    assert advice.startswith("pip install ")
    empty.run(*advice.replace("'", "").split())
    assert "wasmtime" in empty.run("pip", "list")


def test_the_source_builds_with_the_locked_crates(artefacts, empty, tmp_path):
    """In an environment of its own, as pip does it; what Cargo compiled before is used again where it can."""
    target = os.environ.get("ICWS_TARGET", str(tmp_path / "target"))
    command = ["env", f"CARGO_TARGET_DIR={target}", empty.python, "-m", "pip", "install", "--quiet", "--no-deps"]

    run(*command, str(artefacts.only("icws-*.tar.gz")), cwd=tmp_path)
    assert "icws" in empty.run("pip", "list")
