"""A server under mixed load, kills and updates for as long as one likes: `make soak`. Start with `__main__`."""
