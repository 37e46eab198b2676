"""Use cases, one module per group of resources. Services take and return model objects and raise `ModelError`."""
