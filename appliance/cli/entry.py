"""Where the process of ``icws`` begins. Imports next to nothing: it takes care of Ctrl-C while the rest is imported."""

import signal

from appliance.cli.exit_codes import EXIT_INTERRUPTED


def main(prog_name: str | None = None) -> None:
    """Run the command line and exit. Ctrl-C during the imports ends the process by the signal, as it does a program
    that is not written in Python, instead of with a traceback.
    """
    # Not where it is ignored, as in the background of a shell.
    may_interrupt = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if may_interrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from appliance.cli.main import main as commands  # noqa: PLC0415 - this is what takes a while

    try:
        if may_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        commands(prog_name=prog_name)
    except KeyboardInterrupt:  # before or after click would notice
        raise SystemExit(EXIT_INTERRUPTED) from None
