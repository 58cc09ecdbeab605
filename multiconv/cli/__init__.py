"""The ``multiconv`` command and its subcommands."""
