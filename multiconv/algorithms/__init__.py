"""The NumPy backend's arithmetic. It imports the standard library, NumPy and `multiconv.core` only."""
