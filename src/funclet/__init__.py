"""Funclet: a self-hosted function platform that speaks the FunctionGraph API.

`server.build` shows how the parts are put together; `dataplane.dispatcher`
is where an invocation meets an instance.
"""

__version__ = "0.1.0"
