"""Asynchronous invocations: accepted into the store (`queue`), run from there (`worker`), decided upon (`retry`)."""
