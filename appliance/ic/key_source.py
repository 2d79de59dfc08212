"""Where the gateway's private key comes from: a file, a credential of systemd, or a variable of the environment."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path

from appliance.errors import KeyUnusable
from appliance.ic.identity import KeyIdentity
from appliance.ic.key_file import identity_file_problem, load_identity, load_or_create_identity, read_key
from appliance.private_files import CREDENTIAL, ENVIRONMENT, file_of, is_file


def identity_of(source: Path, environment: Mapping[str, str] = os.environ) -> KeyIdentity:
    """The identity of a source, which must exist. Raises KeyUnusable, also for a file that other users can read."""
    text = str(source)
    if text.startswith(ENVIRONMENT):
        return _from_variable(text.removeprefix(ENVIRONMENT), environment)
    if (file := file_of(source, environment)) is None:
        advice = f"LoadCredential={text.removeprefix(CREDENTIAL)}:/path/of/the/key in the unit passes it"
        raise KeyUnusable(f"systemd has passed no credentials to this process; {advice}")
    identity = load_identity(file)
    if (problem := identity_file_problem(file)) is not None:
        raise KeyUnusable(problem)
    return identity


def identity_at_start(source: Path, environment: Mapping[str, str] = os.environ) -> KeyIdentity:
    """As `identity_of`, and a file that does not exist is created. Raises KeyUnusable."""
    if is_file(source) and not os.path.lexists(source):
        return load_or_create_identity(source)
    return identity_of(source, environment)


def _from_variable(name: str, environment: Mapping[str, str]) -> KeyIdentity:
    value = environment.get(name, "").strip()
    if not value:
        raise KeyUnusable(f"the variable {name} of the environment is not set, or empty")
    try:
        return KeyIdentity(
            read_key(value.encode() if "-----BEGIN " in value else base64.b64decode(value, validate=True))
        )
    except ValueError:
        problem = "it is neither a key in PEM form nor the Base64 of one"
    except KeyUnusable as error:
        problem = error.problem
    raise KeyUnusable(f"the variable {name} of the environment: {problem}")
