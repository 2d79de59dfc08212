"""Writes of files that are whole or did not happen, whatever a full disk, a crash or another process does."""

import errno
import os
import secrets
from pathlib import Path

TEMPORARY = ".tmp"
"""Ending of the name of a file that is being written."""


def write_whole(file: Path, data: bytes, *, mode: int) -> None:
    """Write a file atomically and durably, over an earlier one: after any crash it is the old one or the new one.

    Raises OSError that names the file: a full disk alone would not tell which one is meant.
    """
    try:
        draft = _draft(file, data, mode)
        try:
            os.chmod(draft, mode)  # also against the umask
            os.replace(draft, file)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        sync_folder(file.parent)  # otherwise a crash may lose the rename itself
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def write_new(file: Path, data: bytes, *, mode: int) -> None:
    """Write a file that must not exist, atomically and durably; the umask takes from its mode.

    Raises FileExistsError, and OSError that names the file.
    """
    try:
        draft = _draft(file, data, mode)
        try:
            _place(draft, file)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(file.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def _draft(file: Path, data: bytes, mode: int) -> Path:
    """A file beside this one with the data, on the disk."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}{TEMPORARY}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft


_WITHOUT_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""How a file system says that it has no links, or no more."""


def _place(draft: Path, file: Path) -> None:
    # A rename would replace what another process has put there meanwhile; a link does not.
    try:
        os.link(draft, file)
    except OSError as error:
        if error.errno not in _WITHOUT_LINKS:
            raise
        # A file system without links, as that of a memory stick: the name is taken first, so that nothing is replaced.
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            os.replace(draft, file)
        except BaseException:
            file.unlink(missing_ok=True)
            raise


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
