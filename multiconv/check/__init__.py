"""The check: many problems for many backends, and what came of each."""
