"""Examines the files and folders that a configuration names. Creates nothing."""

import errno
import grp
import os
from collections.abc import Iterator
from pathlib import Path

from appliance.config.fields.address import UNIX
from appliance.config.schema import Config
from appliance.control.auth.tokens import Tokens
from appliance.errors import ConfigError, KeyUnusable
from appliance.gateway.sockets.tls.loading import load_tls
from appliance.ic.key_source import identity_of
from appliance.preparation.finding import Finding
from appliance.private_files import is_file, why_hidden


def identity(config: Config, *, may_create: bool) -> Iterator[Finding]:
    """Whether the key can be used, or created if there is none. A gateway that runs creates none: its key file is gone
    by mistake.
    """
    source, key = config.gateway.identity, "gateway.identity"
    if is_file(source) and may_create and not os.path.lexists(source):
        if (problem := uncreatable(source.parent)) is not None:
            yield Finding(key, f"{source} cannot be written: {problem}")
        return
    try:
        identity_of(source)
    except KeyUnusable as error:
        yield Finding(key, str(error))


def journal(config: Config) -> Iterator[Finding]:
    """Whether the file of the journal can be written, if it is named."""
    file = config.gateway.journal
    if file is None:  # then a start goes on without it
        return
    problem = why_hidden(file) or (os.strerror(errno.EISDIR) if file.is_dir() else uncreatable(file.parent))
    if problem is not None:
        yield Finding("gateway.journal", f"the journal {file} cannot be used: {problem}; choose another place")


def group(config: Config) -> Iterator[Finding]:
    """Whether the Unix sockets of the control plane can be given to their group."""
    name = config.control.group
    if name is None or not any(listen.startswith(UNIX) for listen in config.control.listen):
        return
    try:
        number = int(name) if name.isdecimal() else grp.getgrnam(name).gr_gid
    except KeyError:
        yield Finding("control.group", f"there is no group {name}; create it, or name another")
        return
    if os.geteuid() != 0 and number not in (os.getegid(), *os.getgroups()):
        yield Finding("control.group", f"this user is no member of {name}; add it, as the user of the gateway")


def tls(config: Config) -> Iterator[Finding]:
    """Whether certificate and key can be used together."""
    if config.gateway.tls is not None:
        try:
            load_tls(config.gateway.tls)
        except ConfigError as error:
            yield from (Finding(each.key, each.problem) for each in error.problems)


def tokens(config: Config) -> Iterator[Finding]:
    """Whether every line of the file of tokens is valid."""
    try:
        Tokens(config.control.tokens).check()
    except ConfigError as error:
        yield from (Finding(each.key, each.problem, place=each.place) for each in error.problems)


def history(config: Config) -> Iterator[Finding]:
    """Whether the folder of the revisions can be read, or created. A disk that is full or read-only is none of its
    problems: then revisions are not kept.
    """
    folder = config.control.history
    if folder is None:
        return
    problem = why_hidden(folder)
    if problem is None and not folder.exists():
        problem = uncreatable(folder.parent)
    elif problem is None and not folder.is_dir():
        problem = os.strerror(errno.ENOTDIR)
    elif problem is None and not os.access(folder, os.R_OK | os.X_OK, effective_ids=True):
        problem = os.strerror(errno.EACCES)
    if problem is not None:
        yield Finding("control.history", f"{folder} cannot be used: {problem}; null keeps the history in memory only")


def uncreatable(folder: Path) -> str | None:
    """Why a file cannot be created in a folder, which may have to be created first; None if it can."""
    nearest = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if (reason := why_hidden(nearest)) is not None:
        return reason
    if not nearest.is_dir():
        return os.strerror(errno.ENOTDIR)
    if os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
        return None
    is_read_only = bool(os.statvfs(nearest).f_flag & os.ST_RDONLY)
    return os.strerror(errno.EROFS if is_read_only else errno.EACCES)
