import json
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.develop.local_gateway import _listed, _settings, gateway_identity, generations_of
from appliance.config.load import load
from appliance.config.schema import Config
from appliance.ic.principal import Principal
from appliance.localnet.net import Localnet
from appliance.localnet.websocket.dialect import DIALECTS

CANISTER = Principal.from_text("bkyz2-fmaaa-aaaaa-qaaaq-cai")
NAMES = st.lists(st.sampled_from(["chat", "prices", "old"]), unique=True)
CHOICES = st.lists(st.tuples(st.sampled_from(["", "chat", "prices", "old"]), st.sampled_from(sorted(DIALECTS))))


@given(NAMES, CHOICES)
def test_the_own_generation_goes_over_that_of_all(names: list[str], chosen: list[tuple[str, str]]) -> None:
    last = dict(chosen)
    if last.keys() - {"", *names}:
        with pytest.raises(click.UsageError, match="there is no canister"):
            generations_of(names, chosen)  # type: ignore[arg-type]
        return
    for name, found in generations_of(names, chosen).items():  # type: ignore[arg-type]
        assert found == ([last.get(name, last.get(""))] if {name, ""} & last.keys() else ["v1", "v2"])


def test_the_identity_follows_from_the_seed_unless_there_is_one(tmp_path: Path) -> None:
    def found(folder: str, seed: bytes) -> Principal:
        return gateway_identity(Localnet(seed=seed), tmp_path / folder).principal

    assert found("a", b"one") == found("b", b"one") != found("c", b"two")
    assert found("a", b"two") == found("a", b"one"), "a stored key stays"


@pytest.mark.parametrize("name", ["chat", "my canister", "-", "x" * 80])
def test_any_file_name_makes_a_valid_configuration(name: str, tmp_path: Path) -> None:
    settings = _settings(
        Localnet(port=4943),
        [_listed(name, CANISTER, ["v2"])],
        port=0,
        identity=tmp_path / "gateway.pem",
        folder=tmp_path,
    )
    (canister,) = _loaded(settings, tmp_path).canisters
    assert (canister.id, canister.name) == (CANISTER, "chat" if name == "chat" else None)


@pytest.mark.parametrize("depth", [1, 120])
def test_a_long_folder_has_no_socket(tmp_path: Path, depth: int) -> None:
    folder = Path("/" + "x" * depth)
    control = _loaded(
        _settings(Localnet(port=4943), [], port=0, identity=folder / "key", folder=folder), tmp_path
    ).control
    assert control.listen[-1] == "127.0.0.1:0"
    assert [address.startswith("unix:") for address in control.listen] == [True, False][depth > 100 :]


def _loaded(settings: dict[str, object], folder: Path) -> Config:
    file = folder / "gateway.yaml"
    file.write_text(json.dumps(settings))
    return load(file).config
