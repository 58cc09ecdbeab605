"""Benchmarks: how long each backend takes for the layers of networks."""
