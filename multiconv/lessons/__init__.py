"""The lessons: d2l's code in every framework, run side by side."""
