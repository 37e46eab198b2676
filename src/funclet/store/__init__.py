"""Rows to model objects and back. SQL lives here and nowhere else; start with `protocol.Store`."""
