"""The check: run many problems on many backends, and report the results."""
