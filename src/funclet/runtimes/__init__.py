"""The server's side of the runtime contract.

`registry` knows what runtimes there are, `frames` speaks to one.
"""
