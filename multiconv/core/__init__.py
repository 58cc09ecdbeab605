"""The core: the definition of a convolution, the backend interface, and the protocol between a worker and its parent.

It imports only NumPy and the standard library, and ml_dtypes when bfloat16 is used. Workers run it in Python
environments that need not have multiconv.
"""
