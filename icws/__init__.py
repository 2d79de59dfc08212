"""The Python client for IC WebSockets, by the name of its distribution: ``from icws import connect``.

`icws.sync` has the same for programs without an event loop; ``python -m icws`` is the command.
"""

from appliance.client import *
from appliance.client import __all__ as __all__
