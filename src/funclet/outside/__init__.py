"""Systems outside: HTTP under a guard, S3, NATS, and what stands in for them in the data folder. Start with `links`."""
