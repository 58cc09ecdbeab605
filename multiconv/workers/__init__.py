"""A backend in another Python: its process, its environment, and the cache of what its framework compiles."""
