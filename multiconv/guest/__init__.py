"""What runs in other people's Pythons, which have a framework and NumPy and need not have multiconv.

It runs on Python 3.10 and NumPy 1.23, and imports the standard library, NumPy, the framework and `multiconv.core` only.
"""
