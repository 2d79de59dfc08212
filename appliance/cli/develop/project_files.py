"""Writes canister ids to the files that projects read them from: those of dfx, of icp-cli, and ``.env``."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from appliance.ic.principal import Principal
from appliance.whole_files import write_whole

DFX_FILE = Path(".dfx", "local", "canister_ids.json")
ICP_FILES = (Path(".icp", "cache", "mappings", "local.ids.json"), Path(".icp", "data", "mappings", "local.ids.json"))
"""For an environment ``local`` whose network icp-cli runs itself, and for one that it connects to."""
ENV_FILE = Path(".env")
ENV_BEGIN = "# DFX CANISTER ENVIRONMENT VARIABLES"
ENV_END = "# END DFX CANISTER ENVIRONMENT VARIABLES"
_BLOCK = re.compile(rf"^{ENV_BEGIN}$.*?^{ENV_END}$\n?", re.MULTILINE | re.DOTALL)


def write_ids(folder: Path, ids: Mapping[str, Principal], *, url: str, root_key: bytes) -> list[Path]:
    """Write all files below a project's folder and return their paths. Other content in them stays.

    Raises OSError, and ValueError for a file of ids that is not JSON.
    """
    files = {file: _read(folder / file) for file in (DFX_FILE, *ICP_FILES)}
    for name, canister_id in ids.items():
        known = files[DFX_FILE].get(name)
        files[DFX_FILE][name] = {**(known if isinstance(known, dict) else {}), "local": str(canister_id)}
        for file in ICP_FILES:
            files[file][name] = str(canister_id)
    for file, content in files.items():
        _write(folder / file, json.dumps(content, indent=2, sort_keys=True) + "\n")
    env = folder / ENV_FILE
    before = env.read_text(encoding="utf-8") if env.exists() else ""
    _write(env, _with_block(before, _variables(ids, url, root_key)))
    return [*(folder / file for file in files), env]


def _variables(ids: Mapping[str, Principal], url: str, root_key: bytes) -> list[str]:
    lines = ["DFX_NETWORK='local'", f"IC_HOST='{url}'", f"IC_ROOT_KEY='{root_key.hex()}'"]
    for name, canister_id in ids.items():
        variable = re.sub(r"\W", "_", name, flags=re.ASCII).upper()
        lines += [f"CANISTER_ID_{variable}='{canister_id}'", f"ICP_CLI_CID_{variable}='{canister_id}'"]
    return lines


def _with_block(text: str, lines: list[str]) -> str:
    """Return the text with these lines between dfx's marks, replacing earlier ones."""
    block = "\n".join([ENV_BEGIN, *lines, ENV_END, ""])
    if _BLOCK.search(text):
        return _BLOCK.sub(lambda _: block, text, count=1)
    return f"{text}\n{block}" if text.strip() else block


def _read(file: Path) -> dict[str, object]:
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{file} is not a file of canister ids, move it out of the way")
    return found


def _write(file: Path, text: str) -> None:
    """Replace a file atomically: readers see the old content or the new.

    The file mode is kept, because ``.env`` may hold other secrets.
    """
    target = file.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, text.encode(), mode=target.stat().st_mode & 0o777 if target.exists() else 0o644)
