"""Files and folders of the gateway's own: folders that nobody else may enter, and reads that end."""

import os
import select
import shlex
import stat
import time
from collections.abc import Mapping
from pathlib import Path

PATIENCE_S = 5.0
"""Time for the writer of a pipe. A pipe that nobody writes to would otherwise block its reader for ever."""
_CHUNK = 64 * 1024
CREDENTIAL = "credential:"
ENVIRONMENT = "env:"
SCHEMES = (CREDENTIAL, ENVIRONMENT)
"""What the source of a secret begins with that is no path: a credential of systemd, a variable of the environment."""


def is_file(source: Path) -> bool:
    """Whether the source of a secret is a path. Only there one can be created."""
    return not str(source).startswith(SCHEMES)


def file_of(source: Path, environment: Mapping[str, str] = os.environ) -> Path | None:
    """The file of such a source; None for a variable, and for a credential where systemd has passed none."""
    text = str(source)
    if not text.startswith(CREDENTIAL):
        return None if text.startswith(ENVIRONMENT) else source
    folder = environment.get("CREDENTIALS_DIRECTORY")
    return None if folder is None else Path(folder) / text.removeprefix(CREDENTIAL)


def why_hidden(path: Path) -> str | None:
    """Why this user cannot see what is at a path, nor whether there is anything; None where it can.

    To be asked before ``Path.exists`` and its like, which raise PermissionError below a folder that may not be entered.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror
    return None


def make_private_folders(folder: Path) -> None:
    """Make a folder and those above it that are missing, all with mode 0700. Raises OSError.

    ``Path.mkdir(mode=..., parents=True)`` gives the mode to the last one only; those above it would be 0777 under
    umask 0.
    """
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o700, exist_ok=True)


def access_problem(path: str | os.PathLike[str]) -> str | None:
    """Why a file is open to more users than a secret may be, with the command that mends it; None if it is not.

    Its owner alone may have access, and where root owns it, a group may read it: so do packages of certificates and
    mounted secrets give a key to a service. Raises OSError.
    """
    status = os.stat(path)
    may_read = stat.S_IRGRP if status.st_uid == 0 else 0
    if not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO) & ~may_read:
        return None
    is_read_by_group = may_read & status.st_mode and status.st_uid != os.geteuid()  # perhaps by this very process
    mode, fitting = stat.S_IMODE(status.st_mode), "640" if is_read_by_group else "600"
    return f"{path} is open to other users (mode {mode:04o}); run: chmod {fitting} {shlex.quote(os.fspath(path))}"


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """The first ``limit`` bytes of a file or a pipe. Raises OSError, TimeoutError for a pipe that nobody writes to."""
    # Without O_NONBLOCK the opening of a named pipe waits for its writer, out of reach of any time limit.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        data, give_up_at = bytearray(), time.monotonic() + PATIENCE_S
        readable = select.poll()  # select() knows no descriptors beyond 1,023, and a gateway has thousands
        readable.register(descriptor, select.POLLIN)
        is_woken = False
        while len(data) < limit:
            try:
                chunk = os.read(descriptor, min(_CHUNK, limit - len(data)))
            except BlockingIOError:
                chunk = None  # a pipe whose writer has not written yet
            if chunk:
                data += chunk
            # Nothing is the end only of what was there: a pipe reads so before its writer comes, too. And a writer that
            # left before this open is seen by reading alone: poll() reports only those that leave after it.
            elif chunk is not None and (data or is_woken):
                break
            elif not readable.poll(max(0.0, give_up_at - time.monotonic()) * 1000):
                raise TimeoutError(0, f"nothing was written to this pipe for {PATIENCE_S:g} s")
            else:
                is_woken = True
        return bytes(data)
    finally:
        os.close(descriptor)
