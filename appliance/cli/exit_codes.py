"""Exit codes besides 0 (success), 1 (failure) and 2 (wrong usage). Without imports: ``icws --help`` loads this."""

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: the configuration is invalid, a restart does not help."""

EXIT_HANDED_ON = 75
"""EX_TEMPFAIL of sysexits.h: the process has ended for the next one, which the service manager is to start."""

EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells report a program that Ctrl-C ended."""
