"""An endpoint that misbehaves on demand: over a hundred named faults, on real sockets, to try any client against.

Example:
    >>> from oarlock import ChatLLM
    >>> from oarlock.testing import faults
    >>> with faults.serve(["reset_after_request", "status_503", "answer"]) as server:
    ...     ChatLLM("m", server.url).call("Hi")
    'Hello there.'
"""

from oarlock.testing.faults.catalog import ANSWER, Fault, fault, get, names
from oarlock.testing.faults.connection import Connection, Gone
from oarlock.testing.faults.groups import (  # noqa: F401  each makes its faults known
    answer,
    body,
    connection,
    http,
    leak,
    retry,
    shape,
    sse,
    status,
    tls,
    tools,
)
from oarlock.testing.faults.server import FaultServer, serve

__all__ = ["ANSWER", "Connection", "Fault", "FaultServer", "Gone", "fault", "get", "names", "serve"]
