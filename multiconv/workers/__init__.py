"""A backend in another Python: the process, the environment that it runs in, and what its framework compiled."""
