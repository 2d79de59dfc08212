import subprocess
import sys

PROGRAM = """
import resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
from appliance.core_dumps import forbid_core_dumps
forbid_core_dumps()
print(resource.getrlimit(resource.RLIMIT_CORE))
child = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout, end="")
"""


def test_neither_the_process_nor_those_it_starts_dump_their_memory():
    """In a process of its own: a hard limit cannot be raised again."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "(0, 0)\n(0, 0)\n"
