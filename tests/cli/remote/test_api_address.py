from pathlib import Path

import pytest

from appliance.cli.remote.api_address import VARIABLE, control_listen


def listen(folder: Path, text: str | None, **environment: str) -> tuple[str | None, str]:
    file = folder / "gateway.yaml"
    if text is not None:
        file.write_text(text)
    return control_listen(file, environment)


@pytest.mark.parametrize("text", ["version: 1\n", "control: {keep: 3}\n", "control: null\n", "control: []\n", "[1]\n"])
def test_by_default_it_is_a_socket_beside_the_file(tmp_path: Path, text: str):
    listen_address, source = listen(tmp_path, text)
    assert listen_address == f"unix:{tmp_path}/data/control.sock"
    assert source == f"the default for {tmp_path}/gateway.yaml"


@pytest.mark.parametrize("text", [None, "", "][", "control: {listen: unix:x.sock\n", b"\xff".decode("latin-1")])
def test_a_file_that_is_broken_or_not_there_leaves_the_default(tmp_path: Path, text: str | None):
    listen_address, source = listen(tmp_path, text)
    assert listen_address == f"unix:{tmp_path}/data/control.sock"
    assert "cannot be read" in source or text == "ÿ"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("unix:run/x.sock", "unix:{folder}/run/x.sock"),
        ("unix:/run/icws/control.sock", "unix:/run/icws/control.sock"),
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("null", None),
    ],
)
def test_what_the_file_says(tmp_path: Path, setting: str, expected: str | None):
    listen_address, source = listen(tmp_path, f"control: {{listen: '{setting}'}}\n".replace("'null'", "null"))
    assert listen_address == (expected and expected.format(folder=tmp_path))
    assert source == f"{tmp_path}/gateway.yaml"


def test_other_faults_of_the_file_do_not_matter(tmp_path: Path):
    listen_address, _ = listen(tmp_path, "gateway: {listn: 5}\npolling: 7\ncontrol: {listen: unix:/a.sock, odd: 1}\n")
    assert listen_address == "unix:/a.sock"


def test_the_variable_goes_over_the_file_and_counts_from_here(tmp_path: Path):
    listen_address, source = listen(tmp_path, "control: {listen: unix:/a.sock}\n", **{VARIABLE: "unix:b.sock"})
    assert (listen_address, source) == (f"unix:{Path.cwd()}/b.sock", VARIABLE)
    assert listen(tmp_path, None, **{VARIABLE: "null"})[0] is None
