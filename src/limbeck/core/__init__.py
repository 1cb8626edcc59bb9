"""The closed base: units, errors, config, random streams, estimates, records, progress."""
