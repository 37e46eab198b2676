"""Several data-plane processes on one machine, each the owner of some functions. Start with `sharded.ShardedInvoker`.

`ownership` says who owns what, `frames` and `link` carry messages between processes, `mesh` is the place of
one process among the others, and `supervisor` starts them and starts again what has died.
"""
