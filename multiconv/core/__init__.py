"""The interface: what a convolution is, what a backend is, and what goes over the wire to one in another Python.

It imports NumPy and the standard library only (ml_dtypes where bfloat16 is asked for), as it runs in other people's
Pythons too.
"""
