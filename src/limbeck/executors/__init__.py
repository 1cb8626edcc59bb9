"""Executors: where tasks run. Tasks are pure functions with serialisable arguments."""
