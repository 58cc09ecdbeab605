"""The five backends. Each is found as an entry point of the group ``multiconv.backends``."""
