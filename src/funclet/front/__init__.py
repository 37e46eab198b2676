"""The HTTP/1.1 listener of the server, for the API and for the gateway. Start with `listener.Front`.

Nothing stands between it and the handler, because every invocation passes here.
Requests of a connection are answered one at a time and in order; whatever a
client can send too much of, or too slowly, has a limit.
"""

from funclet.front.connection import FrontLimits
from funclet.front.listener import Front

__all__ = ["Front", "FrontLimits"]
