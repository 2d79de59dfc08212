import base64
from pathlib import Path

import pytest

from appliance.errors import KeyUnusable
from appliance.ic.key_file import create_identity
from appliance.ic.key_source import identity_at_start, identity_of


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "identity.pem"
    create_identity(path)
    return path


def test_every_source_gives_the_same_identity(file: Path) -> None:
    pem = file.read_text()
    wanted = identity_of(file).principal
    passed = {"CREDENTIALS_DIRECTORY": str(file.parent)}
    assert identity_of(Path("credential:identity.pem"), passed).principal == wanted
    encoded = base64.b64encode(pem.encode()).decode()
    der = "".join(pem.splitlines()[1:-1])
    for value in (pem, encoded, der, f"  {encoded}\n"):
        assert identity_of(Path("env:KEY"), {"KEY": value}).principal == wanted


@pytest.mark.parametrize(
    ("source", "environment", "problem"),
    [
        ("credential:key", {}, r"LoadCredential=key:/path/of/the/key"),
        ("credential:key", {"CREDENTIALS_DIRECTORY": "/nowhere"}, "/nowhere/key: No such file"),
        ("env:KEY", {}, "variable KEY of the environment is not set"),
        ("env:KEY", {"KEY": " "}, "variable KEY of the environment is not set, or empty"),
        ("env:KEY", {"KEY": "!"}, "neither a key in PEM form nor the Base64 of one"),
        ("env:KEY", {"KEY": "AAAA"}, "the variable KEY of the environment: "),
    ],
)
def test_what_is_missing_is_named(source: str, environment: dict[str, str], problem: str) -> None:
    for read in (identity_of, identity_at_start):
        with pytest.raises(KeyUnusable, match=problem):
            read(Path(source), environment)


def test_no_message_repeats_a_value_that_may_be_a_secret() -> None:
    secret = base64.b64encode(b"nearly a key of 32 secret bytes!").decode()
    with pytest.raises(KeyUnusable) as caught:
        identity_of(Path("env:KEY"), {"KEY": secret})
    assert secret not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_that_others_can_read_is_refused_with_the_command_that_mends_it(file: Path) -> None:
    file.chmod(0o644)
    for read in (identity_of, identity_at_start):
        with pytest.raises(KeyUnusable, match=rf"mode 0644\); run: chmod 6[04]0 {file}"):
            read(file)
    file.chmod(0o600)
    assert identity_at_start(file).principal == identity_of(file).principal


def test_only_a_start_makes_a_key_and_only_where_a_file_is_missing(tmp_path: Path) -> None:
    new = tmp_path / "new.pem"
    with pytest.raises(KeyUnusable, match="No such file"):
        identity_of(new)
    made = identity_at_start(new).principal
    assert new.stat().st_mode & 0o777 == 0o600
    assert identity_at_start(new).principal == made
