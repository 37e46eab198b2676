"""The command line `fgs`: each command is calls of the public API and a rendering. Start at `main`."""
