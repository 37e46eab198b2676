"""Values and pure rules: functions, urns, invocations, errors. No I/O, no clock, no async."""
