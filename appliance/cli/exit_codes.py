"""What the program ends with, beside 0 (done), 1 (failed) and 2 (wrong usage)."""

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: starting again does not help."""

EXIT_INTERRUPTED = 130
"""What shells say of a program that Ctrl-C ended."""
