"""Benchmarks of Funclet beside its peers: `make bench`. Read `__main__` first, then `measures`."""
