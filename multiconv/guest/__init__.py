"""Code that runs in other Python environments, which have a framework and NumPy but need not have multiconv.

It supports Python 3.10 and NumPy 1.23. It imports only the standard library, NumPy, the framework and `multiconv.core`.
"""
