"""The benchmark: what each backend takes for the layers of networks."""
