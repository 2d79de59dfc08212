import json
from pathlib import Path

import pytest

from appliance.cli.develop.project_files import DFX_FILE, ENV_FILE, ICP_FILES, write_ids
from appliance.localnet.state.certification import canister_id

CHAT, SHOP = canister_id(0x8000000000100001), canister_id(0x8000000000100002)


def write(folder: Path) -> list[Path]:
    return write_ids(folder, {"chat": CHAT, "my-shop": SHOP}, url="http://127.0.0.1:4943", root_key=b"\1\2")


def test_ids_are_where_projects_look_for_them(tmp_path: Path) -> None:
    assert write(tmp_path) == [tmp_path / file for file in (DFX_FILE, *ICP_FILES, ENV_FILE)]
    assert json.loads((tmp_path / ".dfx/local/canister_ids.json").read_text()) == {
        "chat": {"local": str(CHAT)},
        "my-shop": {"local": str(SHOP)},
    }
    for folder in ("cache", "data"):
        mapping = json.loads((tmp_path / f".icp/{folder}/mappings/local.ids.json").read_text())
        assert mapping == {"chat": str(CHAT), "my-shop": str(SHOP)}
    lines = (tmp_path / ".env").read_text().splitlines()
    assert f"CANISTER_ID_CHAT='{CHAT}'" in lines
    assert f"CANISTER_ID_MY_SHOP='{SHOP}'" in lines
    assert "IC_ROOT_KEY='0102'" in lines


def test_what_others_have_written_stays(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / DFX_FILE).write_text('{"chat": {"local": "old", "test": "x"}, "other": {"local": "y"}}')
    (tmp_path / ICP_FILES[0]).write_text('{"other": "y"}')
    env = (tmp_path / ENV_FILE).read_text().replace("chat", "old")
    (tmp_path / ENV_FILE).write_text(f"SECRET=1\n{env}LAST=2\n")
    write(tmp_path)
    assert json.loads((tmp_path / DFX_FILE).read_text()) == {
        "chat": {"local": str(CHAT), "test": "x"},
        "my-shop": {"local": str(SHOP)},
        "other": {"local": "y"},
    }
    assert json.loads((tmp_path / ICP_FILES[0]).read_text())["other"] == "y"
    text = (tmp_path / ENV_FILE).read_text()
    assert text.startswith("SECRET=1\n")
    assert text.endswith("LAST=2\n")
    assert text.count("CANISTER_ID_CHAT=") == 1
    write(tmp_path)
    assert (tmp_path / ENV_FILE).read_text() == text, "a second time changes nothing"


def test_an_env_of_ones_own_is_added_to(tmp_path: Path) -> None:
    (tmp_path / ENV_FILE).write_text("SECRET=1\n")
    write(tmp_path)
    assert (tmp_path / ENV_FILE).read_text().startswith("SECRET=1\n\n# DFX CANISTER ENVIRONMENT VARIABLES\n")


def test_an_env_stays_where_it_is_and_whose_it_is(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_text("SECRET=1\n")
    secrets.chmod(0o600)
    (tmp_path / ENV_FILE).symlink_to(secrets)
    write(tmp_path)
    assert (tmp_path / ENV_FILE).is_symlink()
    assert secrets.read_text().startswith("SECRET=1\n\n# DFX")
    assert secrets.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["nonsense", "[]", ""])
def test_a_file_that_is_none_of_ids_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / DFX_FILE
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(ValueError, match="is not a file of canister ids"):
        write(tmp_path)
    assert file.read_text() == text
