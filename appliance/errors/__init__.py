"""All errors, as one tree of exceptions with a module for each layer.

A class holds the facts of the case as fields and shows them in its sentence. ``close_code`` is what a socket is closed
with when the error ends it: a registered code (RFC 6455 section 7.4.1 and the IANA registry) where one fits, else
4000-4499 when the client should reconnect and 4500-4999 when it should not, because the same request would fail again.
``reason`` is the short label in metrics and logs.

The package imports nothing of ours, because the native core raises these classes, by the names exported here.
"""

from appliance.errors.bad_reply import *
from appliance.errors.base import *
from appliance.errors.certificate import *
from appliance.errors.cluster import *
from appliance.errors.config import *
from appliance.errors.envelope import *
from appliance.errors.ic import *
from appliance.errors.reply import *
from appliance.errors.session import *
from appliance.errors.socket import *
