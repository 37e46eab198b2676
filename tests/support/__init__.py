"""Aids that only tests use: real server processes, packages, waiting for conditions."""
