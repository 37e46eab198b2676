"""The privileged process: it makes sandboxes, ends them, and cleans up after them.

`supervise.supervise` is the launcher's entry point, `daemon.serve` the loop,
`messages` what may be said to it. It imports nothing of ours outside
`funclet.sandbox`, speaks to no network and holds no secret.
"""
