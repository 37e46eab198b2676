"""What every other layer may use: clocks, ids, supervised tasks. Knows nothing of functions."""
