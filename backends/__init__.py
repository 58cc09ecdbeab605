"""The five backends, side by side. Each is found as an entry point of the group ``multiconv.backends``."""
