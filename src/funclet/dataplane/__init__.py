"""One node of the data plane: from an `Invocation` to an `Outcome`. Start with `dispatcher.Dispatcher.invoke`."""
