"""Builds the node that a configuration describes."""

import hashlib
import os
import re
import socket
import time
from importlib.util import find_spec
from pathlib import Path

from appliance.cluster.engine import Facts, NodeInfo
from appliance.cluster.local_engine.client import LocalEngine
from appliance.cluster.node import Node
from appliance.cluster.seal import Seal
from appliance.config.cluster import Cluster
from appliance.errors import EngineUnsuitable
from appliance.ic.identity import KeyIdentity
from appliance.installation import installation
from appliance.private_files import ENVIRONMENT, file_of, read_bytes
from appliance.threads import FILE_TIMEOUT_S, FILES

MAX_PASSWORD = 64 * 1024
"""Bytes of a password file."""


def missing_extra() -> str | None:
    """What to do where the client of the engine is not installed; None where it is."""
    if find_spec("redis") is not None:
        return None
    return f"a cluster needs the extra `cluster`: {installation().advice('cluster')}"


def node_of(
    settings: Cluster,
    *,
    name: str,
    identity: KeyIdentity,
    root_key: bytes,
    version: str,
    local: Path | None = None,
) -> Node:
    """The node of a configuration. Where that names no engine, it is at the socket ``local``, of the supervisor of the
    workers. Raises EngineUnsuitable without the extra.
    """
    facts = Facts(str(identity.principal), hashlib.sha256(root_key).hexdigest())
    info = NodeInfo(version, socket.gethostname(), os.getpid(), time.time_ns())
    seal = Seal(identity, settings.name)
    if settings.url is None and local is not None:
        return Node(LocalEngine(local), settings, name=name, facts=facts, info=info, seal=seal)
    if (missing := missing_extra()) is not None:
        raise EngineUnsuitable(missing)
    from appliance.cluster.redis_engine import RedisEngine  # noqa: PLC0415 - an extra

    async def read_password() -> str | None:
        source = node.settings.password_file
        if source is None:
            return None
        return await FILES.run_once(("password", source), lambda: password_from(source), FILE_TIMEOUT_S)

    node = Node(
        RedisEngine(settings, read_password),
        settings,
        name=name,
        facts=facts,
        info=info,
        seal=seal,
    )
    return node


def machine_name() -> str:
    """The name of this machine, without what a name of a node cannot have."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:63].lstrip("._-") or "node"


def password_from(source: Path) -> str:
    """The password of a source. Raises OSError, also for a variable that is not set."""
    if str(source).startswith(ENVIRONMENT):
        name = str(source).removeprefix(ENVIRONMENT)
        if not (value := os.environ.get(name)):
            raise OSError(f"the variable {name} of the environment is not set, or empty")
        return value
    if (file := file_of(source)) is None:
        raise OSError("systemd has passed no credentials to this process (cluster.password_file)")
    return read_bytes(file, MAX_PASSWORD).decode().strip()
