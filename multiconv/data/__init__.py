"""Data that multiconv's modules read with importlib.resources."""
