"""Event sources: one file per kind of trigger, and the host that fires timers. Start with `protocol`."""
