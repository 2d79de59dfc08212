"""Runs commands in odd surroundings: a process that has every command imported, and forks for each case.

It reads cases as a JSON list of [surroundings, arguments] from the file that it is given, and prints a JSON list of
[code, standard output, standard error]. What differs from a process of its own is only what Python does before `main`,
which is done here again: it opens the standard streams by the encoding of the environment, and leaves out closed ones.
"""

import io
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from appliance.cli.main import _MODULES, main

TIMEOUT_S = 30
NOBODY = 54321
"""A user without a name or a home."""


def close(*numbers: int) -> Callable[[], None]:
    def apply() -> None:
        for number in numbers:
            os.close(number)

    return apply


def break_pipe(number: int) -> Callable[[], None]:
    def apply() -> None:
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, number)

    return apply


def without_environment() -> None:
    os.environ.clear()


def without_home() -> None:
    for name in ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME"):
        os.environ.pop(name, None)


def as_nobody() -> None:
    without_home()
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def in_folder_that_is_gone() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def in_folder_of_root() -> None:
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o555)  # noqa: S103 - whom it lets write does not matter: nobody
    os.chdir(folder)
    as_nobody()


def open_files(number: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


def no_space() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)


SURROUNDINGS: dict[str, Callable[[], object]] = {
    "none": lambda: None,
    "no stdin": close(0),
    "no stdout": close(1),
    "no stderr": close(2),
    "no streams": close(0, 1, 2),
    "stdout of a reader that left": break_pipe(1),
    "stderr of a reader that left": break_pipe(2),
    "stdout to a full disk": no_space,
    "no environment": without_environment,
    "no home": without_home,
    "a user without a name": as_nobody,
    "Latin-1": lambda: None,
    "ASCII": lambda: None,
    "a folder that is gone": in_folder_that_is_gone,
    "a folder that cannot be written": in_folder_of_root,
    "umask 0": lambda: os.umask(0),
    "umask 077": lambda: os.umask(0o077),
    "12 open files": open_files(12),
    "24 open files": open_files(24),
    "SIGPIPE and SIGHUP ignored": lambda: [signal.signal(n, signal.SIG_IGN) for n in (signal.SIGPIPE, signal.SIGHUP)],
}
ENCODINGS = {"Latin-1": "latin-1", "ASCII": "ascii"}


def run(surroundings: str, arguments: list[str]) -> list[Any]:
    """Run a command in a child, with its code, or minus the signal that ended it."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            _child(surroundings, arguments, out.fileno(), err.fileno())
        status = os.waitpid(pid, 0)[1]
        out.seek(0)
        err.seek(0)
        texts = [stream.read().decode(errors="replace") for stream in (out, err)]
        return [os.waitstatus_to_exitcode(status), *texts]


def _child(surroundings: str, arguments: list[str], out: int, err: int) -> None:
    signal.alarm(TIMEOUT_S)
    os.setsid()  # no terminal
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.dup(err)
    for number, source in enumerate((null, out, err)):
        os.dup2(source, number)
    os.closerange(log + 1, 64)
    SURROUNDINGS[surroundings]()
    _open_streams(ENCODINGS.get(surroundings, "utf-8"))
    code = 70
    try:
        main(arguments, prog_name="icws")
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        os.write(log, traceback.format_exc().encode(errors="replace"))
    try:
        sys.stdout.flush()
    except OSError as error:  # as at the end of a process
        os.write(log, f"Exception ignored while flushing: {error!r}\n".encode())
    os._exit(code)


def _open_streams(encoding: str) -> None:
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            stream: io.TextIOBase | None = open(number, mode, encoding=encoding, closefd=False)  # noqa: SIM115
        except OSError:
            stream = None
        setattr(sys, name, stream)


def import_all() -> None:
    "".encode("idna")  # of the standard library, which a user without a name may not be able to read
    for module in set(_MODULES.values()):
        import_module(f"appliance.cli.{module}")


if __name__ == "__main__":
    import_all()
    cases = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps([run(*case) for case in cases]))
