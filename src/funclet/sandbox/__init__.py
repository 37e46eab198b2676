"""Isolation and process management; knows nothing of what is spoken inside.

Start with `protocol`. The drivers are `isolated` (levels `full` and `rootless`)
and `process`; `checked` wraps any of them; `sandboxd` is the privileged process.
"""
